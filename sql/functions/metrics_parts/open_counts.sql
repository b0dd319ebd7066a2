-- Of each of these workflow versions that has any: its open runs as last counted, the start of the oldest of
-- them, how many are overdue, and how many runs were abandoned in the period [starts_at, ends_at): those
-- are among the period's failures.
--
-- project_ids and version_ids are columns: each version with its project, which leads to the index.
create or replace function meshmetrics_parts.open_counts(
  project_ids uuid[],
  version_ids uuid[],
  starts_at timestamptz,
  ends_at timestamptz
)
returns table (
  workflow_id uuid,
  open bigint,
  oldest_open_at timestamptz,
  overdue bigint,
  abandoned bigint
)
language sql
stable
set search_path = pg_catalog, public, pg_temp
set jit = off
set enable_seqscan = off
as $$
  select
    v.id, coalesce(c.open_count, 0)::bigint, c.oldest_open_at, coalesce(c.overdue_count, 0)::bigint,
    a.abandoned
  from unnest(project_ids, version_ids) v (project_id, id)
  left join lateral (
    select r.open_count, r.oldest_open_at, r.overdue_count
    from public.workflow_run_open_counts r
    where r.workflow_id = v.id
    offset 0
  ) c on true
  cross join lateral (
    select count(*) as abandoned
    from public.workflow_run_abandonments b
    where b.project_id = v.project_id and b.workflow_id = v.id
      and b.abandoned_at >= starts_at and b.abandoned_at < ends_at
    offset 0
  ) a
  where c.open_count is not null or a.abandoned > 0;
$$;
