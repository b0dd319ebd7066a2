-- The buckets of a whole project, so that a chart over all its workflows reads one row for each
-- quarter of an hour and not one for each workflow as well.

create table public.workflow_run_project_buckets (
  project_id uuid not null,
  grain text collate "C" not null check (grain in ('minute', 'quarter', 'day')),
  bucket_start timestamptz not null,
  -- Nil: what was counted. Else a workflow version that was deleted since, whose share this row
  -- takes back until maintain adds both up: so whoever deletes a workflow only ever inserts here,
  -- and neither waits for counting nor holds it up.
  deleted_workflow_id uuid not null default '00000000-0000-0000-0000-000000000000',
  success_count integer not null,
  failure_count integer not null,
  canceled_count integer not null,
  primary key (project_id, grain, bucket_start, deleted_workflow_id)
) with (fillfactor = 80);
comment on table public.workflow_run_project_buckets is
  'The sums of workflow_run_buckets over the workflows of a project; add up the rows of a bucket_start.';
-- Finds what is to be added up.
create index workflow_run_project_buckets_deleted
  on public.workflow_run_project_buckets (deleted_workflow_id)
  where deleted_workflow_id <> '00000000-0000-0000-0000-000000000000';
alter table public.workflow_run_project_buckets enable row level security;

-- What is counted already: as maintain and count_runs would have left it.
select pg_catalog.pg_advisory_xact_lock(5570217644489864242); -- meshmetrics.counting_lock()
insert into public.workflow_run_project_buckets
  (project_id, grain, bucket_start, success_count, failure_count, canceled_count)
select
  b.project_id, b.grain, b.bucket_start,
  sum(b.success_count), sum(b.failure_count), sum(b.canceled_count)
from public.workflow_run_buckets b
group by 1, 2, 3;
