"""The events of EVENTS through dj-stripe's own `Event.process`, one after the other; prints what it keeps."""

import json
import logging
import os
import sys
import time
from pathlib import Path

import django
import stripe
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "djstripe"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ["PGDATABASE"],
            "USER": os.environ["PGUSER"],
            "HOST": os.environ["PGHOST"],
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DJSTRIPE_FOREIGN_KEY_TO_FIELD="id",
    STRIPE_LIVE_MODE=False,
    STRIPE_TEST_SECRET_KEY="sk_test_" + 24 * "0",  # the simulated Stripe takes any
    LOGGING_CONFIG=None,
    USE_TZ=True,
    MIGRATION_MODULES=dict.fromkeys(("auth", "contenttypes", "djstripe")),  # tables at once: migrations take minutes
)
django.setup()
logging.disable()  # the simulated Stripe knows no features of products, and dj-stripe logs each
stripe.api_base = os.environ["STRIPE_URL"]

# The simulated Stripe has no account of its own to tell of; dj-stripe asks for it once.
ACCOUNT = {"id": "acct_peers", "object": "account", "settings": {"branding": {}, "dashboard": {}}}
stripe.Account.retrieve = lambda *_, **__: stripe.Account.construct_from(ACCOUNT, "sk_test")

from django.core.management import call_command  # noqa: E402  # after the settings
from djstripe.models import Event, Invoice, Subscription  # noqa: E402

call_command("migrate", verbosity=0, run_syncdb=True, stdout=sys.stderr)
events = json.loads(Path(os.environ["EVENTS"]).read_text())
failed, first_failure = 0, None
began = time.monotonic()
for event in events:
    try:
        Event.process(event)
    except Exception as error:  # noqa: BLE001  # whatever it raises, Stripe would send the event again
        failed += 1
        first_failure = first_failure or f"{event['type']}: {type(error).__name__}: {str(error)[:200]}"
seconds = time.monotonic() - began
kept = [one.stripe_data for model in (Subscription, Invoice) for one in model.objects.all()]
print(json.dumps({"seconds": seconds, "failed": failed, "first_failure": first_failure, "objects": kept}))
