"""The tables of the lake in Glue's data catalog are those that are declared."""

from __future__ import annotations

from tests.support.cloudformation import Template

from nilometer.domain.lake.all_tables import ALL_TABLES

LONGEST = 255  # characters of a comment that Glue takes


def test_the_catalog_has_every_table_with_what_its_columns_mean(template: Template) -> None:
    """Under its own name, where it lies, every column in its order."""
    tables = {made["TableInput"]["Name"]: made["TableInput"] for made in template.of("AWS::Glue::Table").values()}

    assert tables.keys() == ALL_TABLES.keys()
    for name, made in tables.items():
        storage = made["StorageDescriptor"]
        assert storage["Location"] == {"Fn::Sub": f"s3://${{LakeBucket}}/lake/{name}/"}
        assert storage["SerdeInfo"]["Parameters"]["path"] == storage["Location"]
        assert made["Description"] == ALL_TABLES[name].meaning
        declared = [(column.name, column.meaning) for column in ALL_TABLES[name].columns]
        assert [(column["Name"], column["Comment"]) for column in storage["Columns"]] == declared
        assert all(len(column["Comment"]) <= LONGEST for column in storage["Columns"])


def test_there_is_no_catalog_unless_it_is_named(template: Template) -> None:
    """Whoever reads the lake otherwise gets no table of it in an account's catalog, and one machine has none."""
    made = [one for one in template.resources.values() if one["Type"].startswith("AWS::Glue::")]

    assert {one["Condition"] for one in made} == {"HasCatalog"}
    assert template.body["Parameters"]["Catalog"]["Default"] == ""
    assert {"Condition": "OnAws"} in template.body["Conditions"]["HasCatalog"]["Fn::And"]
