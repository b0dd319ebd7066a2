-- Something to read as a tenant, for `meshmetrics doctor`: the project of the newest run (else any) and its owner,
-- one workflow version of it (null: the project has none), and how many of that version's runs, finished from 1970
-- on and before upto, the ledger holds or has retired. No row: there is no project.
create or replace function meshmetrics.tenant_sample(upto timestamptz)
returns table (
  project_id uuid,
  owner uuid,
  workflow_id uuid,
  success_count bigint,
  failure_count bigint,
  canceled_count bigint
)
language sql
stable
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
set enable_seqscan = off -- as in count_runs
as $$
  with sample as materialized (
    select p.id, p.owner, c.workflow_id
    from (
      (
        select 1, d.project_id, d.id
        from public.workflow_runs r
        join public.workflow_definitions d on d.id = r.workflow_id
        order by r.updated_at desc, r.id desc
        limit 1
      )
      union all
      (select 2, d.project_id, d.id from public.workflow_definitions d limit 1)
      union all
      (select 3, p.id, null from public.projects p limit 1)
    ) c (rank, project_id, workflow_id)
    join public.projects p on p.id = c.project_id
    where p.owner is not null
    order by c.rank
    limit 1
  ),
  counts as (
    select
      count(*) filter (where l.outcome = 'success') as success,
      count(*) filter (where l.outcome = 'failure') as failure,
      count(*) filter (where l.outcome = 'canceled') as canceled
    from sample s
    join meshmetrics.counted_runs l on l.workflow_id = s.workflow_id
    where l.finished_at >= '1970-01-01' and l.finished_at < upto
    union all
    select sum(b.success_count), sum(b.failure_count), sum(b.canceled_count)
    from sample s
    join meshmetrics.retired_buckets b on b.workflow_id = s.workflow_id
    where b.grain = 'day' and b.bucket_start >= '1970-01-01' and b.bucket_start < upto
  )
  select
    s.id, s.owner, s.workflow_id,
    coalesce(sum(c.success), 0)::bigint,
    coalesce(sum(c.failure), 0)::bigint,
    coalesce(sum(c.canceled), 0)::bigint
  from sample s
  cross join counts c
  group by s.id, s.owner, s.workflow_id;
$$;
