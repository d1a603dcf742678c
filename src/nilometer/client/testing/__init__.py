"""What tests of a service need: a stack in memory, and a whole one on this machine.

    pytest_plugins = ["nilometer.client.testing.plugin"]

    def test_it_counts(nilometer_fake):
        with nilometer_fake.client() as client:
            client.usage.record("acme", "api_calls")
        assert nilometer_fake.used("acme", "api_calls") == 1

Both answer by the same handlers; the conformance suite of all routes runs against each.
"""
