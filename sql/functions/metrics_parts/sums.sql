-- The finished runs in each of the periods [first_at[n], last_at[n]), of these workflow versions;
-- or, where version_ids is null, of all in these projects (null: all the caller's), for which the
-- projects' own buckets are read.
create or replace function meshmetrics_parts.sums(
  first_at timestamptz[],
  last_at timestamptz[],
  project_ids uuid[],
  version_ids uuid[]
)
returns table (n integer, success_count bigint, failure_count bigint, canceled_count bigint)
language plpgsql
stable
set search_path = pg_catalog, public, pg_temp
set jit = off
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  projects constant uuid[] := array( -- each once, however often it is named
    select distinct u.id
    from unnest(coalesce(project_ids, array(select public.user_project_ids()))) u (id)
  );
begin
  if version_ids is null then
    return query
    select
      p.number::integer, coalesce(s.success, 0)::bigint, coalesce(s.failure, 0)::bigint,
      coalesce(s.canceled, 0)::bigint
    from generate_subscripts(first_at, 1) p (number)
    left join (
      select
        c.n, sum(c.sign * x.success) as success, sum(c.sign * x.failure) as failure,
        sum(c.sign * x.canceled) as canceled
      from meshmetrics_parts.pieces(first_at, last_at) c
      cross join unnest(projects) w (id)
      cross join lateral (
        select
          sum(b.success_count) as success, sum(b.failure_count) as failure,
          sum(b.canceled_count) as canceled
        from public.workflow_run_project_buckets b
        where b.project_id = w.id and b.grain = c.grain
          and b.bucket_start >= c.lower_at and b.bucket_start < c.upper_at
      ) x
      group by c.n
    ) s on s.n = p.number;
  else
    return query
    select
      p.number::integer, coalesce(s.success, 0)::bigint, coalesce(s.failure, 0)::bigint,
      coalesce(s.canceled, 0)::bigint
    from generate_subscripts(first_at, 1) p (number)
    left join (
      select
        c.n, sum(c.sign * x.success) as success, sum(c.sign * x.failure) as failure,
        sum(c.sign * x.canceled) as canceled
      from meshmetrics_parts.pieces(first_at, last_at) c
      cross join unnest(version_ids) w (id)
      cross join lateral (
        select
          sum(b.success_count) as success, sum(b.failure_count) as failure,
          sum(b.canceled_count) as canceled
        from public.workflow_run_buckets b
        where b.workflow_id = w.id and b.grain = c.grain
          and b.bucket_start >= c.lower_at and b.bucket_start < c.upper_at
      ) x
      group by c.n
    ) s on s.n = p.number;
  end if;
end;
$$;
