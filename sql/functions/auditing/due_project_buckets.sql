-- The buckets that a project should have, of whole UTC days from `lower` to before `upper`: the
-- sums of its workflows'. A workflow without counters is in the project of its definition.
create or replace function meshmetrics.due_project_buckets(
  project uuid, lower timestamptz, upper timestamptz
)
returns table (
  grain text,
  bucket_start timestamptz,
  success_count integer,
  failure_count integer,
  canceled_count integer
)
language sql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
set enable_seqscan = off -- as in count_runs
as $$
  select
    b.grain, b.bucket_start,
    sum(b.success_count)::integer, sum(b.failure_count)::integer, sum(b.canceled_count)::integer
  from (
    select m.workflow_id from public.workflow_run_metrics m where m.project_id = project
    union all
    select d.id
    from public.workflow_definitions d
    where d.project_id = project
      and not exists (select from public.workflow_run_metrics m where m.workflow_id = d.id)
  ) w
  cross join meshmetrics.kept_from k
  join public.workflow_run_buckets b
    on b.workflow_id = w.workflow_id and b.grain = k.grain
    and b.bucket_start >= greatest(k.since, lower) and b.bucket_start < upper
  group by 1, 2;
$$;
