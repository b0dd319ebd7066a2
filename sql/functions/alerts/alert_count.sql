-- Succeeded and failed runs of these workflow versions that finished from from_at to until_at, both
-- included: one question of meshmetrics.alert_counts.
create or replace function meshmetrics.alert_count(
  ids uuid[],
  from_at timestamptz,
  until_at timestamptz,
  out successes bigint,
  out failures bigint
)
language sql
stable
set search_path = pg_catalog, pg_temp
as $$
  select coalesce(sum(c.successes), 0)::bigint, coalesce(sum(c.failures), 0)::bigint
  from meshmetrics.alert_counts(
    array_fill(1, array[cardinality(ids)]), ids,
    array_fill(from_at, array[cardinality(ids)]), array_fill(until_at, array[cardinality(ids)])
  ) c;
$$;
