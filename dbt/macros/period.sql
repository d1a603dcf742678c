{# Of which time and as known when the models are built, as literals that DuckDB, Trino, Athena and Spark read. #}

{% macro instant(moment) -%}
timestamp '{{ moment.strftime("%Y-%m-%d %H:%M:%S.%f") }}+00:00'
{%- endmacro %}

{% macro day_of(name) -%}
{{ return(modules.datetime.datetime.strptime(var(name), "%Y-%m-%d")) }}
{%- endmacro %}

{% macro first_day() -%}
{{ return(nilometer.day_of("first")) }}
{%- endmacro %}

{# The first instant after the period. #}
{% macro after_last() -%}
{% set today = run_started_at.replace(tzinfo=none, hour=0, minute=0, second=0, microsecond=0) %}
{{ return(nilometer.day_of("last") + modules.datetime.timedelta(days=1) if var("last") else today) }}
{%- endmacro %}

{% macro known_moment() -%}
{{ return(modules.datetime.datetime.strptime(var("known_at"), "%Y-%m-%d %H:%M:%S") if var("known_at") else run_started_at.replace(tzinfo=none)) }}
{%- endmacro %}

{% macro known() -%}{{ nilometer.instant(nilometer.known_moment()) }}{%- endmacro %}
{% macro since() -%}{{ nilometer.instant(nilometer.first_day()) }}{%- endmacro %}
{% macro until() -%}{{ nilometer.instant([nilometer.after_last(), nilometer.known_moment()] | min) }}{%- endmacro %}

{# The account at Stripe that the figures are of. #}
{% macro account() -%}'{{ var("account") | replace("'", "''") }}'{%- endmacro %}

{% macro calendar_row(begins, ends) -%}
(date '{{ begins.strftime("%Y-%m-%d") }}', {{ nilometer.instant(begins) }}, {{ nilometer.instant(ends) }})
{%- endmacro %}

{% macro days() -%}
{%- set first = nilometer.first_day() -%}
{%- for n in range((nilometer.after_last() - first).days) -%}
{%- set begins = first + modules.datetime.timedelta(days=n) -%}
{{ nilometer.calendar_row(begins, begins + modules.datetime.timedelta(days=1)) }}{{ "," if not loop.last }}
{% endfor -%}
{%- endmacro %}

{% macro months() -%}
{%- set month = namespace(begins=nilometer.first_day().replace(day=1)) -%}
{%- set after = nilometer.after_last() -%}
{%- for n in range(1200) if month.begins < after -%}
{%- set next = (month.begins.replace(day=28) + modules.datetime.timedelta(days=4)).replace(day=1) -%}
{{ "," if n }}{{ nilometer.calendar_row(month.begins, [next, after] | min) }}
{% set month.begins = next -%}
{% endfor -%}
{%- endmacro %}

{# The session's time zone, by which an engine reads literals without a zone and cuts days and months. Athena and Trino
   take the zone of the value, which is UTC. #}
{% macro in_utc() -%}
{% if target.type == "duckdb" %}set TimeZone = 'UTC'{% elif target.type in ("spark", "databricks") %}set time zone 'UTC'{% endif %}
{%- endmacro %}
