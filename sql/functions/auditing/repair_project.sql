-- Makes a project's buckets, of the days that audit_project would check, the sums of its
-- workflows' buckets. buckets: how many were wrong.
--
-- What workflows that are deleted meanwhile take back is in rows of its own, and stays: the row
-- of what was counted is set to the rest.
create or replace function meshmetrics.repair_project(
  project uuid, after timestamptz, before timestamptz, out buckets integer
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
as $$
begin
  perform meshmetrics.counting_lock();

  with bounds as materialized (
    select
      coalesce(date_trunc('day', after), '-infinity') as lower,
      coalesce(date_trunc('day', before), 'infinity') as upper
  ),
  stored as materialized (
    select
      f.grain, f.bucket_start,
      sum(f.success_count)::integer as success, sum(f.failure_count)::integer as failure,
      sum(f.canceled_count)::integer as canceled,
      sum(f.success_count) filter (where t.taken_back)::integer as success_back,
      sum(f.failure_count) filter (where t.taken_back)::integer as failure_back,
      sum(f.canceled_count) filter (where t.taken_back)::integer as canceled_back
    from public.workflow_run_project_buckets f
    cross join lateral (
      select f.deleted_workflow_id <> '00000000-0000-0000-0000-000000000000' as taken_back
    ) t
    cross join bounds b
    join meshmetrics.kept_from k on k.grain = f.grain and f.bucket_start >= k.since
    where f.project_id = project and f.bucket_start >= b.lower and f.bucket_start < b.upper
    group by 1, 2
  ),
  wrong as materialized (
    select
      coalesce(d.grain, f.grain) as grain, coalesce(d.bucket_start, f.bucket_start) as bucket_start,
      coalesce(d.success_count, 0) - coalesce(f.success_back, 0) as success,
      coalesce(d.failure_count, 0) - coalesce(f.failure_back, 0) as failure,
      coalesce(d.canceled_count, 0) - coalesce(f.canceled_back, 0) as canceled
    from (
      select u.*
      from bounds b
      cross join lateral meshmetrics.due_project_buckets(project, b.lower, b.upper) u
    ) d
    full join stored f on f.grain = d.grain and f.bucket_start = d.bucket_start
    where (coalesce(d.success_count, 0), coalesce(d.failure_count, 0), coalesce(d.canceled_count, 0))
      <> (coalesce(f.success, 0), coalesce(f.failure, 0), coalesce(f.canceled, 0))
  ),
  put as (
    insert into public.workflow_run_project_buckets
      (project_id, grain, bucket_start, success_count, failure_count, canceled_count)
    select project, w.grain, w.bucket_start, w.success, w.failure, w.canceled
    from wrong w
    on conflict (project_id, grain, bucket_start, deleted_workflow_id) do update
    set success_count = excluded.success_count,
        failure_count = excluded.failure_count,
        canceled_count = excluded.canceled_count
  )
  select count(*)::integer into buckets from wrong;
end;
$$;
