-- Compares runs, ledger, buckets and counters in one snapshot: one row for each difference, what
-- is wrong before what is pending, and no more than max_rows of each kind; alike says how many of
-- it there are.
--
-- run: the ledger does not say of a run what the run says; pending as the view `uncounted` has
-- it. bucket, counter: as audit_workflow has them, and audit_project (there is no workflow_id then).
-- set_aside: a run that cannot be counted, and why.
--
-- after and before narrow the audit to whole UTC days of finished_at; counters are then left out.
create or replace function meshmetrics.audit(after timestamptz, before timestamptz, max_rows integer)
returns table (
  kind text,
  pending boolean,
  project_id uuid,
  workflow_id uuid,
  run_id uuid,
  grain text,
  bucket_start timestamptz,
  expected text,
  found text,
  alike bigint
)
language sql
stable -- so that what it calls sees the same snapshot
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
as $$
  with bounds as (
    select
      coalesce(date_trunc('day', after), '-infinity') as lower,
      coalesce(date_trunc('day', before), 'infinity') as upper
  ),
  differences (kind, pending, project_id, workflow_id, run_id, grain, bucket_start, expected, found) as materialized (
    select
      'run', u.pending, null::uuid, u.workflow_id, u.run_id, null::text, null::timestamptz,
      coalesce(u.outcome || ' at ' || u.finished_at, 'nothing'),
      coalesce(u.counted_outcome || ' at ' || u.counted_finished_at, 'nothing')
    from meshmetrics.uncounted() u
    cross join bounds b
    where (u.finished_at >= b.lower and u.finished_at < b.upper)
      or (u.counted_finished_at >= b.lower and u.counted_finished_at < b.upper)
    union all
    select w.kind, false, d.project_id, d.id, null, w.grain, w.bucket_start, w.expected, w.found
    from public.workflow_definitions d
    cross join lateral meshmetrics.audit_workflow(d.id, after, before) w
    where w.kind = 'bucket' or (after is null and before is null)
    union all
    select w.kind, false, p.id, null, null, w.grain, w.bucket_start, w.expected, w.found
    from public.projects p
    cross join lateral meshmetrics.audit_project(p.id, after, before) w
    union all
    select
      'set_aside', false, null, a.workflow_id, a.run_id, null, null,
      'a run that can be counted', a.reason
    from meshmetrics.set_aside_runs a
    where exists (select from public.workflow_runs r where r.id = a.run_id)
  ),
  alike as (
    select d.kind, d.pending, count(*) as n from differences d group by 1, 2
  )
  select d.*, a.n
  from alike a
  cross join lateral (
    select e.* from differences e
    where e.kind = a.kind and e.pending = a.pending
    order by e.workflow_id, e.grain, e.bucket_start, e.run_id
    limit max_rows
  ) d
  order by d.pending, d.kind, d.workflow_id, d.grain, d.bucket_start, d.run_id;
$$;
