-- How many runs of these workflow versions with this outcome finished after a time, `most` at the most: after
-- the last run with the other outcome, that is how many in a row.
create or replace function meshmetrics.alert_in_row(
  ids uuid[],
  of_outcome meshmetrics.outcome,
  after timestamptz,
  until_at timestamptz,
  most integer
)
returns integer
language sql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  select count(*)::integer
  from (
    select from meshmetrics.counted_runs c
    where c.workflow_id = any (ids) and c.outcome = of_outcome
      and c.finished_at > after and c.finished_at <= until_at
    limit most
  ) l;
$$;
