-- The measurements of the enabled rules of these projects (null: of all) and each of their workflows as of a
-- moment, or only of the rules that these workflow versions touch. It reads the data as they are, never what
-- happened since the last round.
--
-- A run that finished after the moment, by a clock that is ahead, is in no window. Only workflows that have one
-- pay for that.
--
-- alert_window says where a window begins. A window that several rules share is counted once.
create or replace function meshmetrics.alert_measures(
  as_of timestamptz,
  workflow_ids uuid[],
  project_ids uuid[]
)
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
  last_finished_at timestamptz, -- the last with any outcome
  value double precision -- of a rule without a window: alert_verdict
)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set jit = off
set work_mem = '64MB' -- ten thousand rules and their states
set enable_seqscan = off -- planned once, whatever the tables were like then (decision 3)
set enable_nestloop = off -- but for looking up in the ledger, which knows no other way
set enable_mergejoin = off -- it sorts ten thousand wide rows
as $$
#variable_conflict use_column
declare
  watched constant uuid[] := array(
    select distinct r.project_id
    from public.workflow_alert_rules r
    where r.enabled
      and (project_ids is null or r.project_id = any (project_ids))
      and (
        workflow_ids is null
        or r.project_id in (
          select d.project_id from public.workflow_definitions d where d.id = any (workflow_ids)
        )
      )
  );
begin
  return query
  with touched as materialized (
    select distinct d.project_id, d.slug
    from public.workflow_definitions d
    where d.id = any (workflow_ids)
  ),
  versions as materialized (
    select
      d.id, d.project_id, d.slug, o.overdue_count, o.oldest_open_at,
      case
        when m.last_success_at > as_of then (
          select max(c.finished_at) from meshmetrics.counted_runs c
          where c.workflow_id = d.id and c.outcome = 'success' and c.finished_at <= as_of
        )
        else m.last_success_at
      end as last_success_at,
      case
        when m.last_failure_at > as_of then (
          select max(c.finished_at) from meshmetrics.counted_runs c
          where c.workflow_id = d.id and c.outcome = 'failure' and c.finished_at <= as_of
        )
        else m.last_failure_at
      end as last_failure_at,
      coalesce(greatest(m.last_success_at, m.last_failure_at) > as_of, false) as is_ahead,
      (
        select max(b.bucket_start) + interval '15 minutes' from meshmetrics.retired_buckets b
        where b.workflow_id = d.id and b.grain = 'quarter'
      ) as deleted_until
    from public.workflow_definitions d
    left join public.workflow_run_metrics m on m.workflow_id = d.id and m.project_id = any (watched)
    left join public.workflow_run_open_counts o
      on o.workflow_id = d.id and o.project_id = any (watched)
    where d.project_id = any (watched)
      and (m.workflow_id is not null or o.workflow_id is not null or d.status = 'published')
  ),
  gathered as (
    select
      v.project_id, v.slug, array_agg(v.id) as ids,
      coalesce(max(v.last_success_at), '-infinity') as last_success,
      coalesce(max(v.last_failure_at), '-infinity') as last_failure,
      max(v.deleted_until) as deleted_until, bool_or(v.is_ahead) as is_ahead,
      sum(v.overdue_count) as overdue, min(v.oldest_open_at) as oldest_open_at
    from versions v
    where workflow_ids is null or (v.project_id, v.slug) in (select t.project_id, t.slug from touched t)
    group by v.project_id, v.slug
    union all
    select
      v.project_id, '', array_agg(v.id),
      coalesce(max(v.last_success_at), '-infinity'), coalesce(max(v.last_failure_at), '-infinity'),
      max(v.deleted_until), bool_or(v.is_ahead), sum(v.overdue_count), min(v.oldest_open_at)
    from versions v
    where v.project_id in (
      select r.project_id from public.workflow_alert_rules r
      where r.enabled and r.scope = 'project' and r.project_id = any (watched)
    )
    group by v.project_id
  ),
  places as materialized (
    select (row_number() over ())::integer as place, g.* from gathered g
  ),
  pairs as (
    -- Those that name a workflow, and (by the empty slug) those on the whole project; apart, so
    -- that they are found by hash.
    select r as rule, p.*
    from public.workflow_alert_rules r
    join places p on p.project_id = r.project_id and p.slug = coalesce(r.workflow_slug, '')
    where r.enabled and r.project_id = any (watched)
      and (r.scope = 'project' or r.workflow_slug is not null)
    union all
    select r, p.*
    from public.workflow_alert_rules r
    join places p on p.project_id = r.project_id and p.slug <> ''
    where r.enabled and r.project_id = any (watched)
      and r.scope = 'workflow' and r.workflow_slug is null
  ),
  subjects as materialized (
    select
      u.rule, (u.rule).metric, w.last_runs as most, w.counted, u.place, u.slug, u.ids, s as old,
      u.last_success, u.last_failure, greatest(u.last_success, u.last_failure) as last_run,
      u.deleted_until, u.is_ahead, u.overdue, u.oldest_open_at,
      coalesce(s.epoch, '-infinity') as epoch,
      greatest(
        as_of - w.width, coalesce(s.epoch, '-infinity') + interval '1 microsecond'
      ) as from_at
    from pairs u
    cross join lateral meshmetrics.alert_window(u.rule) w
    left join public.workflow_alert_states s
      on s.rule_id = (u.rule).id and s.workflow_slug = u.slug and s.project_id = any (watched)
  ),
  -- The last runs since the epoch: the whole window, where it holds no more.
  recent as materialized (
    select a.place, a.epoch, a.most, l.successes, l.failures, l.from_at
    from (
      select distinct on (u.place, u.epoch, u.most) u.place, u.epoch, u.most, u.ids
      from subjects u
      where u.most > 0 and u.last_run > u.epoch
    ) a
    cross join lateral (
      select
        count(*) filter (where r.outcome = 'success') as successes,
        count(*) filter (where r.outcome = 'failure') as failures,
        min(r.finished_at) as from_at
      from (
        select c.outcome, c.finished_at
        from unnest(a.ids) i
        cross join lateral (
          (
            select x.outcome, x.finished_at
            from meshmetrics.counted_runs x
            where x.workflow_id = i and x.outcome = 'success' and x.finished_at > a.epoch
              and x.finished_at <= as_of
            order by x.finished_at desc
            limit a.most
          )
          union all
          (
            select x.outcome, x.finished_at
            from meshmetrics.counted_runs x
            where x.workflow_id = i and x.outcome = 'failure' and x.finished_at > a.epoch
              and x.finished_at <= as_of
            order by x.finished_at desc
            limit a.most
          )
        ) c
        order by c.finished_at desc, c.outcome
        limit a.most
      ) r
    ) l
  ),
  planned as materialized (
    select
      u.*, n.successes as last_successes, n.failures as last_failures, n.from_at as last_from,
      -- Whether to count from buckets, which alone still have the runs that were deleted.
      u.counted
        and u.last_run >= u.from_at
        and (
          n.from_at is null
          or (n.from_at >= u.from_at and n.successes + n.failures = n.most)
          or coalesce(u.deleted_until >= u.from_at, false)
        ) as counting
    from subjects u
    left join recent n
      on n.place = u.place and n.epoch = u.epoch and n.most = u.most
  ),
  windows as materialized (
    select (row_number() over ())::integer as question, a.*
    from (
      select distinct on (l.place, l.from_at) l.place, l.from_at, l.ids, l.is_ahead
      from planned l
      where l.counting
    ) a
  ),
  counts as materialized (
    select w.place, w.from_at, c.successes, c.failures
    from (
      select
        array_agg(w.question) as questions, array_agg(i) as ids, array_agg(w.from_at) as from_at,
        -- Without an upper end fewer rows are read.
        array_agg(case when w.is_ahead then as_of else 'infinity' end) as until_at
      from windows w
      cross join lateral unnest(w.ids) i
    ) q
    cross join lateral meshmetrics.alert_counts(q.questions, q.ids, q.from_at, q.until_at) c
    join windows w on w.question = c.question
  )
  select
    u.rule, u.slug, u.ids, u.old,
    case when m.of_last then least(u.last_from, u.from_at) else u.from_at end,
    coalesce(case when m.of_last then u.last_successes else c.successes end, 0),
    coalesce(case when m.of_last then u.last_failures else c.failures end, 0),
    -- At the end of all runs, the newest first; in a row means: after the last success.
    case
      when u.last_failure > greatest(u.last_success, u.epoch) then (
        select count(*)::integer
        from (
          select
          from meshmetrics.counted_runs x
          where x.workflow_id = any (u.ids) and x.outcome = 'failure'
            and x.finished_at > greatest(u.last_success, u.epoch) and x.finished_at <= as_of
          limit greatest((u.rule).consecutive, 1)
        ) r
      )
      else 0
    end,
    u.last_failure,
    u.last_run,
    f.last_finished,
    case u.metric
      when 'no_runs' then
        extract(epoch from as_of - coalesce(nullif(f.last_finished, '-infinity'), (u.rule).created_at))
      when 'overdue_count' then coalesce(u.overdue, 0)
      when 'open_too_long' then extract(epoch from as_of - u.oldest_open_at)
    end::double precision
  from planned u
  left join counts c
    on u.counting and c.place = u.place and c.from_at = u.from_at
  cross join lateral (
    select case
      when u.metric = 'no_runs' then greatest(
        u.last_run,
        (
          select max(x.finished_at)
          from unnest(u.ids) i
          cross join lateral (
            select c.finished_at from meshmetrics.counted_runs c
            where c.workflow_id = i and c.outcome = 'canceled' and c.finished_at <= as_of
            order by c.finished_at desc
            limit 1
          ) x
        )
      )
      else u.last_run
    end as last_finished
  ) f
  -- Whether the last runs are more than those within the time.
  cross join lateral (
    select not u.counting
      or coalesce(u.last_successes + u.last_failures > coalesce(c.successes + c.failures, 0), false)
  ) m (of_last);
end;
$$;
