-- Adds up what deleted workflows took back from the buckets of their projects, at most max_rows
-- of it. A bucket that comes to nothing goes, and so do in the end all those of a deleted project.
-- The caller holds the counting lock.
create or replace function meshmetrics.fold_deleted_workflows(max_rows integer)
returns void
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
set jit = off
as $$
begin
  with picked as materialized (
    select b.project_id, b.grain, b.bucket_start, b.deleted_workflow_id
    from public.workflow_run_project_buckets b
    where b.deleted_workflow_id <> '00000000-0000-0000-0000-000000000000'
    order by b.deleted_workflow_id
    limit max_rows
    for update skip locked -- never wait for a transaction that deletes
  ),
  folded as (
    delete from public.workflow_run_project_buckets b
    using picked p
    where b.project_id = p.project_id and b.grain = p.grain and b.bucket_start = p.bucket_start
      and b.deleted_workflow_id = p.deleted_workflow_id
    returning b.*
  )
  merge into public.workflow_run_project_buckets b
  using (
    select
      f.project_id, f.grain, f.bucket_start,
      sum(f.success_count)::integer as success,
      sum(f.failure_count)::integer as failure,
      sum(f.canceled_count)::integer as canceled
    from folded f
    group by 1, 2, 3
  ) f
  on b.project_id = f.project_id and b.grain = f.grain and b.bucket_start = f.bucket_start
    and b.deleted_workflow_id = '00000000-0000-0000-0000-000000000000'
  when matched and (b.success_count, b.failure_count, b.canceled_count)
    = (-f.success, -f.failure, -f.canceled) then delete
  when matched then update
    set success_count = b.success_count + f.success,
        failure_count = b.failure_count + f.failure,
        canceled_count = b.canceled_count + f.canceled
  when not matched then insert
    (project_id, grain, bucket_start, success_count, failure_count, canceled_count)
    values (f.project_id, f.grain, f.bucket_start, f.success, f.failure, f.canceled);
end;
$$;
