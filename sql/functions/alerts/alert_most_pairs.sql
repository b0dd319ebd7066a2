-- The most pairs of a rule and a workflow that a project may have. A rule on each workflow makes one for each.
create or replace function meshmetrics.alert_most_pairs()
returns integer
language sql
immutable
set search_path = pg_catalog, pg_temp
as $$ select 50000 $$;
