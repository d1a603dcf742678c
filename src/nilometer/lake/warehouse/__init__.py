"""A DuckDB file of the lake for dbt, with views that have the names and columns of Fivetran's Stripe connector."""
