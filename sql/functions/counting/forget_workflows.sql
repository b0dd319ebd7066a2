-- The buckets of a workflow go with its row of workflow_run_metrics, which goes with the workflow
-- by foreign key. A trigger on our own table: deleting a workflow takes its metrics along, and
-- writing a bucket checks nothing.
--
-- Its share of the project's buckets is taken back by rows of its own, which conflict with no other writer:
-- counting adds to the same buckets all the time, and neither may wait for the other.
--
-- Definer: before Postgres 18 it runs as the role that deletes the workflow, which may be a tenant.
create or replace function meshmetrics.forget_workflows()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  with forgotten as (
    delete from public.workflow_run_buckets b using gone g where b.workflow_id = g.workflow_id
    returning b.*
  )
  insert into public.workflow_run_project_buckets as b
    (project_id, grain, bucket_start, deleted_workflow_id, success_count, failure_count, canceled_count)
  select
    f.project_id, f.grain, f.bucket_start, f.workflow_id,
    -f.success_count, -f.failure_count, -f.canceled_count
  from forgotten f
  where (f.success_count, f.failure_count, f.canceled_count) <> (0, 0, 0)
  on conflict (project_id, grain, bucket_start, deleted_workflow_id) do update
  set success_count = b.success_count + excluded.success_count,
      failure_count = b.failure_count + excluded.failure_count,
      canceled_count = b.canceled_count + excluded.canceled_count;
  delete from meshmetrics.retired_buckets b using gone g where b.workflow_id = g.workflow_id;
  delete from meshmetrics.retired_runs r using gone g where r.workflow_id = g.workflow_id;
  return null;
end;
$$;

create or replace trigger forget_workflows
after delete on public.workflow_run_metrics
referencing old table as gone
for each statement execute function meshmetrics.forget_workflows();
