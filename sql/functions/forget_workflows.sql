-- The buckets of a workflow go with its row of workflow_run_metrics, which goes with the workflow
-- by foreign key. A trigger on our own table: deleting a workflow takes its metrics along, and
-- writing a bucket checks nothing.
create or replace function meshmetrics.forget_workflows()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, pg_temp
as $$
begin
  delete from public.workflow_run_buckets b using gone g where b.workflow_id = g.workflow_id;
  delete from meshmetrics.retired_buckets b using gone g where b.workflow_id = g.workflow_id;
  return null;
end;
$$;

create or replace trigger forget_workflows
after delete on public.workflow_run_metrics
referencing old table as gone
for each statement execute function meshmetrics.forget_workflows();
