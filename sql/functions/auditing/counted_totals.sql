-- How many runs the counters say are counted, and how many the ledger (with what deleted runs left behind) says, in
-- one snapshot: for the doctor. They differ where one schema was restored from a backup without the other.
create or replace function meshmetrics.counted_totals(out counters bigint, out ledger bigint)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
as $$
  select
    coalesce(sum(m.success_count + m.failure_count + m.canceled_count), 0)::bigint,
    coalesce(sum(l.runs), 0)::bigint + coalesce(sum(r.runs), 0)::bigint
  from public.workflow_run_metrics m
  left join lateral (
    select count(*) as runs from meshmetrics.counted_runs c where c.workflow_id = m.workflow_id
  ) l on true
  left join lateral (
    select sum(b.success_count + b.failure_count + b.canceled_count) as runs
    from meshmetrics.retired_buckets b
    where b.workflow_id = m.workflow_id and b.grain = 'day'
  ) r on true;
$$;
