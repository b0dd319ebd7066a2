-- Makes one workflow's buckets, of the days that audit_workflow would check, the sums of its ledger
-- entries and retired runs, and its counters the sums of its day buckets. A change raises the
-- revision, so that screens notice and refetch.
--
-- buckets: how many were wrong. counters: whether they were. passed_over: nothing was done,
-- because the workflow is being deleted: that is not waited for, as in count_runs.
create or replace function meshmetrics.repair_workflow(
  workflow uuid,
  after timestamptz,
  before timestamptz,
  out buckets integer,
  out counters boolean,
  out passed_over boolean
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
as $$
declare
  project uuid;
begin
  perform meshmetrics.counting_lock();
  buckets := 0;
  counters := false;
  passed_over := false;

  select m.project_id into project
  from public.workflow_run_metrics m
  where m.workflow_id = workflow
  for no key update skip locked;
  if not found then
    select d.project_id into project
    from public.workflow_definitions d
    join public.projects p on p.id = d.project_id
    where d.id = workflow
      and not exists (select from public.workflow_run_metrics m where m.workflow_id = workflow)
    for key share skip locked;
    if not found then
      passed_over := true;
      return;
    end if;
    if not exists (select from meshmetrics.counted_runs l where l.workflow_id = workflow)
      and not exists (select from public.workflow_run_buckets b where b.workflow_id = workflow)
    then
      return;
    end if;
    counters := true;
    insert into public.workflow_run_metrics (workflow_id, project_id) values (workflow, project);
  end if;

  with wrong as materialized (
    select
      coalesce(d.grain, f.grain) as grain, coalesce(d.bucket_start, f.bucket_start) as bucket_start,
      d.success_count, d.failure_count, d.canceled_count
    from meshmetrics.due_buckets(
      workflow,
      coalesce(date_trunc('day', after), '-infinity'),
      coalesce(date_trunc('day', before), 'infinity')
    ) d
    full join (
      select b.*
      from public.workflow_run_buckets b
      join meshmetrics.kept_from k on k.grain = b.grain and b.bucket_start >= k.since
      where b.workflow_id = workflow
        and (after is null or b.bucket_start >= date_trunc('day', after))
        and (before is null or b.bucket_start < date_trunc('day', before))
    ) f on f.grain = d.grain and f.bucket_start = d.bucket_start
    where (coalesce(d.success_count, 0), coalesce(d.failure_count, 0), coalesce(d.canceled_count, 0))
      <> (coalesce(f.success_count, 0), coalesce(f.failure_count, 0), coalesce(f.canceled_count, 0))
      or f.project_id <> project
  ),
  gone as (
    delete from public.workflow_run_buckets b
    using wrong w
    where b.workflow_id = workflow and b.grain = w.grain and b.bucket_start = w.bucket_start
      and w.success_count is null
  ),
  put as (
    insert into public.workflow_run_buckets as b
      (workflow_id, project_id, grain, bucket_start, success_count, failure_count, canceled_count)
    select workflow, project, w.grain, w.bucket_start, w.success_count, w.failure_count, w.canceled_count
    from wrong w
    where w.success_count is not null
    on conflict (workflow_id, grain, bucket_start) do update
    set project_id = excluded.project_id,
        success_count = excluded.success_count,
        failure_count = excluded.failure_count,
        canceled_count = excluded.canceled_count
  )
  select count(*)::integer into buckets from wrong;

  -- A statement of its own, to see the buckets as they are now.
  select
    counters
    or (m.success_count, m.failure_count, m.canceled_count, m.last_success_at, m.last_failure_at)
      is distinct from
      (d.success_count, d.failure_count, d.canceled_count, d.last_success_at, d.last_failure_at)
  into counters
  from public.workflow_run_metrics m
  cross join lateral meshmetrics.due_counters(workflow) d
  where m.workflow_id = workflow;

  update public.workflow_run_metrics m
  set success_count = d.success_count,
      failure_count = d.failure_count,
      canceled_count = d.canceled_count,
      last_success_at = d.last_success_at,
      last_failure_at = d.last_failure_at,
      last_updated = clock_timestamp(),
      revision = m.revision + 1
  from meshmetrics.due_counters(workflow) d
  where m.workflow_id = workflow and (buckets > 0 or counters);
end;
$$;
