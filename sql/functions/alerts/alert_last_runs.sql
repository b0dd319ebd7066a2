-- The last `most` runs of these workflow versions that succeeded or failed and finished after epoch and until
-- until_at: how many of each, and when the first of them finished.
create or replace function meshmetrics.alert_last_runs(
  ids uuid[],
  epoch timestamptz,
  until_at timestamptz,
  most integer,
  out successes bigint,
  out failures bigint,
  out from_at timestamptz
)
language sql
stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
  select
    count(*) filter (where l.outcome = 'success'),
    count(*) filter (where l.outcome = 'failure'),
    min(l.finished_at)
  from (
    select c.outcome, c.finished_at
    from unnest(ids) i
    cross join (values ('success'::meshmetrics.outcome), ('failure')) o (outcome)
    cross join lateral (
      select r.outcome, r.finished_at
      from meshmetrics.counted_runs r
      where r.workflow_id = i and r.outcome = o.outcome and r.finished_at > epoch
        and r.finished_at <= until_at
      order by r.finished_at desc
      limit most
    ) c
    order by c.finished_at desc, c.outcome
    limit most
  ) l;
$$;
