-- What there is to say of every enabled rule and each of its workflows as of a moment; only of the
-- rules that these workflow versions touch, where some are named. It looks at the data as they
-- are, never at what happened since the last look.
--
-- The window begins window_seconds ago, or with the last window_min_runs runs where those are
-- fewer (rates only), and never before the epoch. What several rules ask of the same workflow and
-- time is counted once.
create or replace function meshmetrics.alert_measures(as_of timestamptz, workflow_ids uuid[])
returns table (
  rule public.workflow_alert_rules,
  slug text,
  ids uuid[],
  old public.workflow_alert_states,
  window_from timestamptz,
  successes bigint,
  failures bigint,
  failures_in_row integer,
  last_failure_at timestamptz,
  last_run_at timestamptz, -- the last that succeeded or failed
  last_finished_at timestamptz -- the last with any outcome
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set jit = off
set enable_nestloop = off -- but for looking up in the ledger, which knows no other way
as $$
#variable_conflict use_column
begin
  return query
  with touched as materialized (
    select distinct d.project_id, d.slug
    from public.workflow_definitions d
    where d.id = any (workflow_ids)
  ),
  watched as materialized (
    select distinct r.project_id
    from public.workflow_alert_rules r
    where r.enabled and (workflow_ids is null or r.project_id in (select t.project_id from touched t))
  ),
  versions as materialized (
    select d.id, d.project_id, d.slug, m.last_success_at, m.last_failure_at
    from public.workflow_definitions d
    left join public.workflow_run_metrics m on m.workflow_id = d.id
    where d.project_id in (select w.project_id from watched w)
      and (m.workflow_id is not null or d.status = 'published')
  ),
  places as materialized (
    select
      v.project_id, v.slug, array_agg(v.id) as ids,
      coalesce(max(v.last_success_at), '-infinity') as last_success,
      coalesce(max(v.last_failure_at), '-infinity') as last_failure
    from versions v
    where workflow_ids is null or (v.project_id, v.slug) in (select t.project_id, t.slug from touched t)
    group by v.project_id, v.slug
    union all
    select
      v.project_id, '', array_agg(v.id),
      coalesce(max(v.last_success_at), '-infinity'), coalesce(max(v.last_failure_at), '-infinity')
    from versions v
    where v.project_id in (
      select r.project_id from public.workflow_alert_rules r where r.enabled and r.scope = 'project'
    )
    group by v.project_id
  ),
  pairs as (
    -- Those that name a workflow, and (by the empty slug) those on the whole project; apart, so
    -- that they are found by hash.
    select r as rule, p.*
    from public.workflow_alert_rules r
    join places p on p.project_id = r.project_id and p.slug = coalesce(r.workflow_slug, '')
    where r.enabled and (r.scope = 'project' or r.workflow_slug is not null)
    union all
    select r, p.*
    from public.workflow_alert_rules r
    join places p on p.project_id = r.project_id and p.slug <> ''
    where r.enabled and r.scope = 'workflow' and r.workflow_slug is null
  ),
  subjects as materialized (
    select
      u.rule, u.project_id, u.slug, u.ids, s as old, u.last_success, u.last_failure,
      coalesce(s.epoch, '-infinity') as epoch,
      greatest(
        as_of - make_interval(secs => (u.rule).window_seconds),
        coalesce(s.epoch, '-infinity') + interval '1 microsecond'
      ) as from_at
    from pairs u
    left join public.workflow_alert_states s
      on s.rule_id = (u.rule).id and s.workflow_slug = u.slug
  ),
  counts as materialized (
    select a.project_id, a.slug, a.from_at, c.successes, c.failures
    from (
      select distinct on (u.project_id, u.slug, u.from_at) u.project_id, u.slug, u.from_at, u.ids
      from subjects u
      where (u.rule).metric not in ('no_runs', 'consecutive_failures')
        and greatest(u.last_success, u.last_failure) >= u.from_at
    ) a
    cross join lateral meshmetrics.alert_count(a.ids, a.from_at, 'infinity') c
  )
  select
    u.rule, u.slug, u.ids, u.old,
    case when l.successes + l.failures > w.n then l.from_at else u.from_at end,
    case when l.successes + l.failures > w.n then l.successes else w.successes end,
    case when l.successes + l.failures > w.n then l.failures else w.failures end,
    -- At the end of all runs, the newest first; in a row means: after the last success.
    case
      when u.last_failure > greatest(u.last_success, u.epoch) then meshmetrics.alert_in_row(
        u.ids, 'failure', greatest(u.last_success, u.epoch), 'infinity',
        greatest((u.rule).consecutive, 1)
      )
      else 0
    end,
    u.last_failure,
    greatest(u.last_success, u.last_failure),
    case
      when (u.rule).metric = 'no_runs' then greatest(
        u.last_success, u.last_failure,
        (
          select max(x.finished_at)
          from unnest(u.ids) i
          cross join lateral (
            select c.finished_at from meshmetrics.counted_runs c
            where c.workflow_id = i and c.outcome = 'canceled'
            order by c.finished_at desc
            limit 1
          ) x
        )
      )
      else greatest(u.last_success, u.last_failure)
    end
  from subjects u
  left join counts c
    on c.project_id = u.project_id and c.slug = u.slug and c.from_at = u.from_at
  cross join lateral (
    select
      coalesce(c.successes, 0) as successes, coalesce(c.failures, 0) as failures,
      coalesce(c.successes + c.failures, 0) as n
  ) w
  left join lateral meshmetrics.alert_last_runs(u.ids, u.epoch, (u.rule).window_min_runs) l
    on (u.rule).metric in ('success_rate', 'failure_rate')
    and w.n < (u.rule).window_min_runs
    and greatest(u.last_success, u.last_failure) > u.epoch;
end;
$$;
