-- Moves the metrics of workflow versions whose project changed to the project they are in now: counters,
-- buckets, the sums of both projects, open counts, and the marks of abandoned runs. workflow_ids: only
-- of these; null: of all. Returns what moved, in the shape of count_runs' changes, with moved_from: the
-- project that must no longer show them.
--
-- A project_id is copied into every one of these rows so that row-level security reads one column; this is
-- the only place where the copy is brought up to date.
create or replace function meshmetrics.follow_workflows(workflow_ids uuid[])
returns jsonb
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
as $$
declare
  changes jsonb;
begin
  if not exists (
    select from public.workflow_run_metrics m
    join public.workflow_definitions d on d.id = m.workflow_id and d.project_id <> m.project_id
    where workflow_ids is null or m.workflow_id = any (workflow_ids)
  ) then
    return '[]';
  end if;
  perform meshmetrics.counting_lock();

  with moved as materialized ( -- as in count_runs: never wait for a workflow that is being deleted
    select m.workflow_id, m.project_id as old_project_id, d.project_id, d.slug
    from public.workflow_run_metrics m
    join public.workflow_definitions d on d.id = m.workflow_id and d.project_id <> m.project_id
    where workflow_ids is null or m.workflow_id = any (workflow_ids)
    for no key update of m skip locked
  ),
  buckets as (
    update public.workflow_run_buckets b
    set project_id = v.project_id
    from moved v
    where b.workflow_id = v.workflow_id
    returning b.*, v.old_project_id
  ),
  entries as (
    select b.project_id, b.grain, b.bucket_start, b.success_count, b.failure_count, b.canceled_count
    from buckets b
    union all
    select b.old_project_id, b.grain, b.bucket_start, -b.success_count, -b.failure_count, -b.canceled_count
    from buckets b
  ),
  project_buckets as (
    insert into public.workflow_run_project_buckets as b
      (project_id, grain, bucket_start, success_count, failure_count, canceled_count)
    select
      e.project_id, e.grain, e.bucket_start, sum(e.success_count), sum(e.failure_count), sum(e.canceled_count)
    from entries e
    group by e.project_id, e.grain, e.bucket_start
    order by e.project_id, e.grain, e.bucket_start
    on conflict (project_id, grain, bucket_start, deleted_workflow_id) do update
    set success_count = b.success_count + excluded.success_count,
        failure_count = b.failure_count + excluded.failure_count,
        canceled_count = b.canceled_count + excluded.canceled_count
  ),
  open_counts as (
    update public.workflow_run_open_counts o
    set project_id = v.project_id
    from moved v
    where o.workflow_id = v.workflow_id
  ),
  abandonments as (
    update public.workflow_run_abandonments a
    set project_id = v.project_id
    from moved v
    where a.workflow_id = v.workflow_id
  ),
  counters as (
    update public.workflow_run_metrics m
    set project_id = v.project_id, last_updated = clock_timestamp(), revision = m.revision + 1
    from moved v
    where m.workflow_id = v.workflow_id
    returning m.*, v.slug, v.old_project_id
  )
  select coalesce(
    jsonb_agg(
      to_jsonb(c) - 'old_project_id' || jsonb_build_object(
        'base_revision', c.revision, 'deltas', null, 'moved_from', c.old_project_id
      )
    ),
    '[]'
  )
  into changes
  from counters c;
  return changes;
end;
$$;
