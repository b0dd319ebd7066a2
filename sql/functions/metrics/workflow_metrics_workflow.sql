-- One workflow, of which any version's id is given; no row where there is none that the caller may
-- see. version_mode 'all': all its versions together; 'one': only that version.
--
-- latest_id, version, name and status are of the newest version counted here. The counts without
-- a period are all-time counts; the rest is as in workflow_metrics_totals. revision is the sum of
-- the revisions of workflow_run_metrics: it grows whenever anything here changes.
create or replace function public.workflow_metrics_workflow(
  wanted_id uuid,
  from_at timestamptz,
  to_at timestamptz,
  version_mode text default 'all'
)
returns table (
  project_id uuid,
  slug text,
  latest_id uuid,
  version integer,
  versions integer,
  name text,
  total_success_count bigint,
  total_failure_count bigint,
  total_canceled_count bigint,
  total_success_rate double precision,
  total_success_rate_low double precision,
  total_success_rate_high double precision,
  last_success_at timestamptz,
  last_failure_at timestamptz,
  last_updated timestamptz,
  revision bigint,
  starts_at timestamptz,
  ends_at timestamptz,
  previous_starts_at timestamptz,
  success_count bigint,
  failure_count bigint,
  canceled_count bigint,
  success_rate double precision,
  success_rate_low double precision,
  success_rate_high double precision,
  previous_success_count bigint,
  previous_failure_count bigint,
  previous_canceled_count bigint,
  previous_success_rate double precision,
  previous_success_rate_low double precision,
  previous_success_rate_high double precision,
  success_rate_change double precision,
  open bigint,
  oldest_open_at timestamptz,
  overdue bigint,
  abandoned bigint
)
language plpgsql
stable
set search_path = pg_catalog, public, pg_temp
set jit = off
set enable_seqscan = off
set plan_cache_mode = force_generic_plan
as $$
declare
  project uuid;
begin
  select d.project_id into project from public.workflow_definitions d where d.id = wanted_id;
  return query
  with members as materialized (
    select m.*
    from meshmetrics_parts.members(array[project], array[wanted_id], null, version_mode) m
    where project is not null
  ),
  newest as (
    select m.* from members m order by m.version desc limit 1
  ),
  counters as (
    select
      coalesce(sum(c.success_count), 0)::bigint as success,
      coalesce(sum(c.failure_count), 0)::bigint as failure,
      coalesce(sum(c.canceled_count), 0)::bigint as canceled,
      max(
        case when c.last_success_at > now()
          then meshmetrics_parts.last_outcome(c.workflow_id, 'success') else c.last_success_at
        end
      ) as last_success_at,
      max(
        case when c.last_failure_at > now()
          then meshmetrics_parts.last_outcome(c.workflow_id, 'failure') else c.last_failure_at
        end
      ) as last_failure_at,
      max(c.last_updated) as last_updated,
      coalesce(sum(c.revision), 0)::bigint as revision
    from members m
    cross join lateral (
      select r.* from public.workflow_run_metrics r where r.workflow_id = m.workflow_id offset 0
    ) c
  )
  select
    l.project_id, l.slug, l.workflow_id, l.version, (select count(*)::integer from members), l.name,
    c.success, c.failure, c.canceled,
    c.success::double precision / nullif(c.success + c.failure, 0), w.low, w.high,
    c.last_success_at, c.last_failure_at, c.last_updated, c.revision,
    t.starts_at, t.ends_at, t.previous_starts_at,
    t.success_count, t.failure_count, t.canceled_count,
    t.success_rate, t.success_rate_low, t.success_rate_high,
    t.previous_success_count, t.previous_failure_count, t.previous_canceled_count,
    t.previous_success_rate, t.previous_success_rate_low, t.previous_success_rate_high,
    t.success_rate_change, t.open, t.oldest_open_at, t.overdue, t.abandoned
  from newest l
  cross join counters c
  cross join lateral meshmetrics_parts.wilson_interval(c.success, c.success + c.failure) w
  cross join lateral public.workflow_metrics_totals(
    from_at, to_at, array[project], array[wanted_id], null, version_mode
  ) t;
end;
$$;
