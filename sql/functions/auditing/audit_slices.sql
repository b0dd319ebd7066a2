-- Cuts the lives of all workflows, and then of all projects, into spans of whole UTC days: what
-- audit_workflow and audit_project compare in one step. A step reads about max_runs ledger rows,
-- or as many buckets.
--
-- Together they leave nothing out: each life's first span is open at its start (null), the last at
-- its end.
create or replace function meshmetrics.audit_slices(max_runs integer)
returns table (kind text, id uuid, after timestamptz, before timestamptz)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  with days as (
    select
      'workflow' as kind, b.workflow_id as id, b.bucket_start,
      greatest(b.success_count + b.failure_count + b.canceled_count, 0) as size
    from public.workflow_run_buckets b
    where b.grain = 'day'
    union all
    select 'project', b.project_id, b.bucket_start, 100 * count(*) -- a day has 96 quarters
    from public.workflow_run_buckets b
    where b.grain = 'day'
    group by b.project_id, b.bucket_start
  ),
  running as (
    select
      d.kind, d.id, d.bucket_start,
      sum(d.size) over (partition by d.kind, d.id order by d.bucket_start) / max_runs as slice
    from days d
  ),
  starts as (
    select r.kind, r.id, min(r.bucket_start) as start
    from running r
    group by r.kind, r.id, floor(r.slice)
  ),
  lives as (
    select 'workflow' as kind, d.id from public.workflow_definitions d
    union all
    select 'project', p.id from public.projects p
  )
  select
    l.kind, l.id, case when row_number() over w > 1 then s.start end, lead(s.start) over w
  from lives l
  left join starts s on s.kind = l.kind and s.id = l.id
  window w as (partition by l.kind, l.id order by s.start)
  order by l.kind desc, l.id, s.start; -- projects are the sums of their workflows: after them
$$;
