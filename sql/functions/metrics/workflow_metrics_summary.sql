-- A row for each selected workflow, with or without runs: its finished runs in a period, the
-- rates with their 95 % intervals, the period of the same length before, and the change against it.
-- group_by 'workflow': its versions are added up; 'version': a row for each version. `matching` is
-- how many rows pass the filters, `remaining` how many of them this page and all later ones have.
--
-- only_failing: rows with a failed run. min_runs: rows with so many succeeded and failed runs.
-- sort_by: one of the columns listed below; descending or not, rows without a value come last. The
-- default is worst first by the least failure rate that the runs prove, so that one failed run of
-- one does not stand above a workflow that fails every third time.
--
-- Pages: give sort_number, sort_text and workflow_id of the last row as after_number, after_text,
-- after_id. The parameters not named are those of members, the columns not
-- explained those of workflow_metrics_totals; workflow_id, version and name are of the newest version.
create or replace function public.workflow_metrics_summary(
  from_at timestamptz,
  to_at timestamptz,
  project_ids uuid[] default null,
  workflow_ids uuid[] default null,
  search text default null,
  version_mode text default 'all',
  group_by text default 'workflow',
  only_failing boolean default false,
  min_runs bigint default 0,
  sort_by text default 'failure_rate_low',
  descending boolean default true,
  max_rows integer default 50,
  after_number double precision default null,
  after_text text default null,
  after_id uuid default null
)
returns table (
  project_id uuid,
  slug text,
  workflow_id uuid,
  version integer,
  versions integer,
  name text,
  success_count bigint,
  failure_count bigint,
  canceled_count bigint,
  success_rate double precision,
  success_rate_low double precision,
  success_rate_high double precision,
  failure_rate double precision,
  failure_rate_low double precision,
  failure_rate_high double precision,
  previous_success_count bigint,
  previous_failure_count bigint,
  previous_canceled_count bigint,
  previous_success_rate double precision,
  previous_success_rate_low double precision,
  previous_success_rate_high double precision,
  success_rate_change double precision,
  last_success_at timestamptz,
  last_failure_at timestamptz,
  open bigint,
  oldest_open_at timestamptz,
  overdue bigint,
  abandoned bigint,
  sort_number double precision,
  sort_text text,
  matching bigint,
  remaining bigint
)
language plpgsql
stable
set search_path = pg_catalog, public, pg_temp
set timezone = 'UTC'
set jit = off
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  columns constant text[] := array[
    'name', 'slug', 'version', 'runs', 'success_count', 'failure_count', 'canceled_count',
    'success_rate', 'success_rate_low', 'failure_rate', 'failure_rate_low', 'success_rate_change',
    'last_success_at', 'last_failure_at', 'open', 'overdue'
  ];
  most constant integer := 500;
  projects constant uuid[] := array( -- each once, however often it is named
    select distinct u.id
    from unnest(coalesce(project_ids, array(select public.user_project_ids()))) u (id)
  );
  everything constant boolean := workflow_ids is null and search is null;
  period record;
begin
  if sort_by is null or sort_by <> all (columns) then
    perform meshmetrics_parts.refuse_parameter('sort_by', sort_by, array_to_string(columns, ', '));
  end if;
  if group_by is null or group_by not in ('workflow', 'version') then
    perform meshmetrics_parts.refuse_parameter('group_by', group_by, 'workflow or version');
  end if;
  if max_rows is null or max_rows not between 1 and most then
    perform meshmetrics_parts.refuse_parameter('max_rows', max_rows::text, '1 to ' || most);
  end if;
  select p.* into period from meshmetrics_parts.period(from_at, to_at) p;

  return query
  with members as materialized (
    select m.*, case when group_by = 'version' then m.version end as apart
    from meshmetrics_parts.members(project_ids, workflow_ids, search, version_mode) m
  ),
  -- What both periods have at the moment between them is read once.
  pieces as materialized (
    select
      c.grain, c.lower_at, c.upper_at,
      coalesce(sum(c.sign) filter (where c.n = 2), 0) as current,
      coalesce(sum(c.sign) filter (where c.n = 1), 0) as before
    from meshmetrics_parts.pieces(
      array[period.previous_starts_at, period.starts_at], array[period.starts_at, period.ends_at]
    ) c
    group by 1, 2, 3
  ),
  -- All workflows: what was written together is read together. A few: each for itself.
  sums as materialized (
    select
      b.workflow_id,
      sum(p.current * b.success) as success,
      sum(p.current * b.failure) as failure,
      sum(p.current * b.canceled) as canceled,
      sum(p.before * b.success) as success_before,
      sum(p.before * b.failure) as failure_before,
      sum(p.before * b.canceled) as canceled_before
    from pieces p
    cross join lateral (
      select
        b.workflow_id, sum(b.success_count) as success, sum(b.failure_count) as failure,
        sum(b.canceled_count) as canceled
      from unnest(projects) w (id)
      cross join lateral (
        select r.*
        from public.workflow_run_buckets r
        where everything and r.project_id = w.id and r.grain = p.grain
          and r.bucket_start >= p.lower_at and r.bucket_start < p.upper_at
        offset 0
      ) b
      group by b.workflow_id
      union all
      select
        m.workflow_id, sum(b.success_count) as success, sum(b.failure_count) as failure,
        sum(b.canceled_count) as canceled
      from members m
      cross join lateral (
        select r.*
        from public.workflow_run_buckets r
        where not everything and r.workflow_id = m.workflow_id and r.grain = p.grain
          and r.bucket_start >= p.lower_at and r.bucket_start < p.upper_at
        offset 0
      ) b
      group by m.workflow_id
    ) b
    group by b.workflow_id
  ),
  opened as materialized (
    select o.*
    from (
      select array_agg(m.project_id) as project_ids, array_agg(m.workflow_id) as version_ids from members m
    ) a
    cross join lateral meshmetrics_parts.open_counts(
      a.project_ids, a.version_ids, period.starts_at, period.ends_at
    ) o
  ),
  counted as (
    select
      m.*, s.success, s.failure, s.canceled, s.success_before, s.failure_before, s.canceled_before,
      r.last_success_at, r.last_failure_at, o.open, o.oldest_open_at, o.overdue, o.abandoned
    from members m
    left join sums s on s.workflow_id = m.workflow_id
    left join opened o on o.workflow_id = m.workflow_id
    left join lateral (
      select
        case when c.last_success_at > now()
          then meshmetrics_parts.last_outcome(c.workflow_id, 'success') else c.last_success_at
        end as last_success_at,
        case when c.last_failure_at > now()
          then meshmetrics_parts.last_outcome(c.workflow_id, 'failure') else c.last_failure_at
        end as last_failure_at
      from public.workflow_run_metrics c
      where c.workflow_id = m.workflow_id
      offset 0
    ) r on true
  ),
  grouped as (
    select
      c.project_id, c.slug,
      (array_agg(c.workflow_id order by c.version desc))[1] as workflow_id,
      max(c.version) as version,
      count(*)::integer as versions,
      (array_agg(c.name order by c.version desc))[1] as name,
      coalesce(sum(c.success), 0)::bigint as success,
      coalesce(sum(c.failure), 0)::bigint as failure,
      coalesce(sum(c.canceled), 0)::bigint as canceled,
      coalesce(sum(c.success_before), 0)::bigint as success_before,
      coalesce(sum(c.failure_before), 0)::bigint as failure_before,
      coalesce(sum(c.canceled_before), 0)::bigint as canceled_before,
      max(c.last_success_at) as last_success_at,
      max(c.last_failure_at) as last_failure_at,
      coalesce(sum(c.open), 0)::bigint as open,
      min(c.oldest_open_at) as oldest_open_at,
      coalesce(sum(c.overdue), 0)::bigint as overdue,
      coalesce(sum(c.abandoned), 0)::bigint as abandoned
    from counted c
    group by c.project_id, c.slug, c.apart
  ),
  rated as (
    select
      g.*, w.low, w.high,
      g.success::double precision / nullif(g.success + g.failure, 0) as rate,
      g.success_before::double precision / nullif(g.success_before + g.failure_before, 0) as rate_before
    from grouped g
    cross join lateral meshmetrics_parts.wilson_interval(g.success, g.success + g.failure) w
    where (not only_failing or g.failure > 0) and g.success + g.failure >= coalesce(min_runs, 0)
  ),
  keyed as (
    select
      r.*,
      coalesce(
        case when descending then -1 else 1 end * case sort_by
          when 'version' then r.version
          when 'runs' then r.success + r.failure + r.canceled
          when 'success_count' then r.success
          when 'failure_count' then r.failure
          when 'canceled_count' then r.canceled
          when 'success_rate' then r.rate
          when 'success_rate_low' then r.low
          when 'failure_rate' then 1 - r.rate
          when 'failure_rate_low' then 1 - r.high
          when 'success_rate_change' then r.rate - r.rate_before
          when 'last_success_at' then extract(epoch from r.last_success_at)::double precision
          when 'last_failure_at' then extract(epoch from r.last_failure_at)::double precision
          when 'open' then r.open
          when 'overdue' then r.overdue
          when 'name' then 0
          when 'slug' then 0
        end,
        'infinity'
      ) as sort_number,
      case sort_by when 'name' then lower(r.name) when 'slug' then lower(left(r.slug, 200)) else '' end
        collate "C" as sort_text,
      count(*) over () as matching
    from rated r
  )
  select
    k.project_id, k.slug, k.workflow_id, k.version, k.versions, k.name,
    k.success, k.failure, k.canceled,
    k.rate, k.low, k.high, 1 - k.rate, 1 - k.high, 1 - k.low,
    k.success_before, k.failure_before, k.canceled_before,
    k.rate_before, v.low, v.high, k.rate - k.rate_before,
    k.last_success_at, k.last_failure_at,
    k.open, k.oldest_open_at, k.overdue, k.abandoned,
    k.sort_number, k.sort_text, k.matching, count(*) over ()
  from keyed k
  cross join lateral meshmetrics_parts.wilson_interval(
    k.success_before, k.success_before + k.failure_before
  ) v
  where after_id is null
    or k.sort_number > after_number
    or (
      k.sort_number = after_number
      and (
        case when descending then k.sort_text < after_text collate "C" else k.sort_text > after_text collate "C" end
        or (k.sort_text = after_text collate "C" and k.workflow_id > after_id)
      )
    )
  order by
    k.sort_number,
    case when descending then k.sort_text end desc,
    case when not descending then k.sort_text end,
    k.workflow_id
  limit max_rows;
end;
$$;
