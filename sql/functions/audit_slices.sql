-- Cuts every workflow's life into spans of whole UTC days with about max_runs runs each, for
-- audit_workflow. Together they leave nothing out: the first is open at its start (null), the
-- last at its end.
create or replace function meshmetrics.audit_slices(max_runs integer)
returns table (workflow_id uuid, after timestamptz, before timestamptz)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set jit = off
as $$
  with running as (
    select
      b.workflow_id, b.bucket_start,
      sum(greatest(b.success_count + b.failure_count + b.canceled_count, 0)) over (
        partition by b.workflow_id order by b.bucket_start
      ) / max_runs as slice
    from public.workflow_run_buckets b
    where b.grain = 'day'
  ),
  slices as (
    select r.workflow_id, min(r.bucket_start) as start
    from running r
    group by r.workflow_id, r.slice
  )
  select
    d.id,
    case when row_number() over w > 1 then s.start end,
    lead(s.start) over w
  from public.workflow_definitions d
  left join slices s on s.workflow_id = d.id
  window w as (partition by d.id order by s.start);
$$;
