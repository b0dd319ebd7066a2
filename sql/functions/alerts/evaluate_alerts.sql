-- Evaluates the enabled rules of these projects (null: of all) as of a moment (null: now), or only those that
-- these workflow versions touch, and writes the states that changed. alert_transition decides what happens; this finds its inputs
-- and writes its answers. A transition, its event, its incident and its deliveries are one transaction, and
-- only happen where the state is still the one that was read: two evaluators at once make one transition.
--
-- Takes no lock that counting or the engine's tables know of.
--
-- One call is one transaction. So that one project's error or size stops no other's alerts, the evaluator calls
-- this for a few projects at a time, and for each alone after an error. A project has 2,000 transitions a call
-- at most: the next call makes the rest.
--
-- evaluated: rules times workflows. notices: for the broadcast, including those that no channel gets, and up to
-- 1,000.
create or replace function meshmetrics.evaluate_alerts(
  as_of timestamptz,
  workflow_ids uuid[],
  project_ids uuid[] default null,
  out evaluated integer,
  out notices jsonb
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set jit = off
set work_mem = '64MB' -- ten thousand rules and their states
as $$
declare
  moment constant timestamptz := coalesce(as_of, now());
  most_transitions constant integer := 2000;
  ended jsonb := '[]';
begin
  if workflow_ids is null then
    select coalesce(jsonb_agg(e), '[]') into ended from meshmetrics.end_alerts(moment, project_ids) e;
  end if;

  with measured as materialized (
    select m.*, v.verdict
    from meshmetrics.alert_measures(moment, workflow_ids, project_ids) m
    cross join lateral meshmetrics.alert_verdict(
      m.rule, m.successes, m.failures, m.failures_in_row, m.value
    ) v
  ),
  -- Most rules find what they found the last time, and nothing follows from it.
  moving as materialized (
    select m.*
    from measured m
    where (m.old).incident_id is not null or meshmetrics.alert_is_cause(m.verdict)
      or ((m.old).state, (m.old).success_count, (m.old).failure_count)
        is distinct from (m.verdict, m.successes, m.failures)
  ),
  -- 1. What the state machine needs to know of open incidents -----------------------------------
  held as materialized (
    select m.*, i as incident, (row_number() over ())::integer as question
    from moving m
    join public.workflow_alert_incidents i on i.id = (m.old).incident_id
  ),
  -- By question: the runs since it opened, and (by its negative) those that it was opened for.
  counted as materialized (
    select c.*
    from (
      select
        array_agg(q.question) as questions, array_agg(i) as ids, array_agg(q.from_at) as from_at,
        array_agg(q.until_at) as until_at
      from (
        select
          h.question, h.ids, (h.incident).opened_until + interval '1 microsecond' as from_at,
          moment as until_at
        from held h
        union all
        select -h.question, h.ids, (h.incident).opened_from, (h.incident).opened_until from held h
      ) q
      cross join lateral unnest(q.ids) i
    ) q
    cross join lateral meshmetrics.alert_counts(q.questions, q.ids, q.from_at, q.until_at) c
  ),
  open_incidents as materialized (
    select
      (m.rule).id as rule_id, m.slug, m.incident, r.recovered,
      meshmetrics.alert_cause_is_of_runs((m.incident).cause)
        and (o.successes, o.failures)
          is distinct from ((m.incident).opened_success, (m.incident).opened_failure)
        and not meshmetrics.alert_is_cause(v.verdict) as corrected,
      (m.incident).acknowledged_at is null and (m.rule).repeat_every_seconds > 0
        and moment - make_interval(secs => (m.rule).repeat_every_seconds)
          >= (m.incident).notified_at as reminder_due
    from held m
    left join counted since on since.question = m.question
    left join counted opened_for on opened_for.question = -m.question
    cross join lateral (
      select
        coalesce(opened_for.successes, 0) as successes, coalesce(opened_for.failures, 0) as failures,
        meshmetrics.alert_in_row(
          m.ids, 'success', greatest(m.last_failure_at, (m.incident).opened_until), moment,
          (m.rule).recovery_runs
        ) as successes_in_row
      offset 0 -- each is computed once, not wherever it is named
    ) o
    cross join lateral ( -- looked up only where the counts differ
      select (
        select max(l.finished_at) from meshmetrics.counted_runs l
        where l.workflow_id = any (m.ids) and l.outcome = 'success'
          and l.finished_at <= (m.incident).opened_until
      ) as at
    ) last_success
    cross join lateral meshmetrics.alert_recovered(
      m.rule, m.verdict, m.successes, m.failures, coalesce(since.successes, 0),
      coalesce(since.failures, 0), o.successes_in_row
    ) r
    cross join lateral meshmetrics.alert_verdict( -- of the runs that it was opened for, as they are now
      m.rule, o.successes, o.failures,
      meshmetrics.alert_in_row(
        m.ids, 'failure', greatest((m.old).epoch, coalesce(last_success.at, '-infinity')),
        (m.incident).opened_until, greatest((m.rule).consecutive, 1)
      ),
      null
    ) v
  ),
  -- 2. What happens --------------------------------------------------------------------------------
  decided as materialized (
    select
      m.*, o.incident, t.action, t.next_state, t.notice as notice_kind, t.in_digest,
      last.reopened_at, last.flapping_since,
      case
        when t.action = 'opened' then gen_random_uuid()
        else coalesce((o.incident).id, last.id)
      end as incident_id, -- that it is about
      coalesce(t.cause, (o.incident).cause) as cause,
      coalesce(t.action in ('corrected', 'recovered'), false) as closes,
      t.cause is not null as opens -- or reopens
    from moving m
    left join open_incidents o on o.rule_id = (m.rule).id and o.slug = m.slug
    left join lateral (
      select r.*
      from meshmetrics.alert_reopenable(
        (m.rule).id, m.slug, (m.rule).reopen_within_seconds, moment
      ) r
      where (m.old).incident_id is null and meshmetrics.alert_is_cause(m.verdict)
      offset 0
    ) last on true
    cross join lateral (
      select
        case when o.incident is null then 'ok' else (m.old).state end as state,
        cardinality(coalesce((o.incident).reopened_at, last.reopened_at)) as reopenings,
        coalesce((o.incident).flapping_since, last.flapping_since) is not null as flapping
    ) i
    cross join lateral meshmetrics.alert_transition(
      i.state, m.verdict, o.corrected, o.recovered, i.reopenings, i.flapping, o.reminder_due
    ) t
  ),
  postponed as materialized (
    select p.rule_id, p.slug
    from (
      select (d.rule).id as rule_id, d.slug, row_number() over (partition by (d.rule).project_id) as place
      from decided d
      where d.action is not null
    ) p
    where p.place > most_transitions
  ),
  -- 3. What is written -------------------------------------------------------------------------------
  moved as (
    update public.workflow_alert_states s
    set state = d.next_state,
        version = s.version + (d.action is not null or s.state <> d.next_state)::integer,
        since = case when s.state = d.next_state then s.since else moment end,
        epoch = case when d.action = 'recovered' then greatest(s.epoch, d.last_run_at) else s.epoch end,
        incident_id = case when not d.closes then d.incident_id end,
        success_count = d.successes,
        failure_count = d.failures,
        window_from = d.window_from,
        evaluated_at = moment
    from decided d
    where s.rule_id = (d.rule).id and s.workflow_slug = d.slug
      and md5(s.workflow_slug) = md5(d.slug) -- as it is indexed
      and (d.action is null or ((d.rule).id, d.slug) not in (select p.rule_id, p.slug from postponed p))
      and s.state = (d.old).state and s.version = (d.old).version
      and (
        d.action is not null
        or (s.state, s.success_count, s.failure_count) <> (d.next_state, d.successes, d.failures)
      )
    returning s.rule_id, s.workflow_slug
  ),
  created as (
    insert into public.workflow_alert_states
      (rule_id, workflow_slug, project_id, state, since, incident_id, success_count, failure_count,
       window_from, evaluated_at)
    select
      (d.rule).id, d.slug, (d.rule).project_id, d.next_state, moment, d.incident_id, d.successes,
      d.failures, d.window_from, moment
    from decided d
    where (d.old).rule_id is null
      and (d.action is null or ((d.rule).id, d.slug) not in (select p.rule_id, p.slug from postponed p))
    on conflict (rule_id, md5(workflow_slug)) do nothing
    returning rule_id, workflow_slug
  ),
  done as materialized (
    select d.*
    from decided d
    join (select * from moved union all select * from created) a
      on a.rule_id = (d.rule).id and a.workflow_slug = d.slug
    where d.action is not null or d.next_state is distinct from (d.old).state
  ),
  noticed as materialized (
    select
      d.*,
      meshmetrics.alert_notice(
        d.rule, d.slug, d.ids, d.notice_kind, d.incident_id, coalesce(i.opened_at, moment), moment,
        d.cause, case when d.closes then d.action end, d.window_from, d.successes, d.failures,
        d.last_finished_at
      ) as notice
    from done d
    left join public.workflow_alert_incidents i on i.id = d.incident_id
    where d.action is not null
  ),
  opened_for as materialized ( -- the runs that it opens for, to be compared with later counts of them
    select n.incident_id, f.from_at, n.last_run_at as until_at, c.successes, c.failures
    from noticed n
    cross join lateral (
      select least(n.window_from, l.from_at) as from_at
      from meshmetrics.alert_last_runs(
        n.ids, coalesce((n.old).epoch, '-infinity'), moment, greatest((n.rule).consecutive, 1)
      ) l
    ) f
    cross join lateral meshmetrics.alert_count(n.ids, f.from_at, n.last_run_at) c
    where n.opens
  ),
  incident_opened as (
    insert into public.workflow_alert_incidents
      (id, project_id, rule_id, workflow_slug, rule_name, severity, cause, opened_at, opened_from,
       opened_until, opened_success, opened_failure, notified_at, notice)
    select
      n.incident_id, (n.rule).project_id, (n.rule).id, n.slug, (n.rule).name, (n.rule).severity,
      n.cause, moment, o.from_at, o.until_at, o.successes, o.failures, moment, n.notice
    from noticed n
    join opened_for o on o.incident_id = n.incident_id
    where n.action = 'opened'
  ),
  incident_changed as (
    update public.workflow_alert_incidents i
    set closed_at = case when n.closes then moment end,
        close_reason = case when n.closes then n.action end,
        cause = n.cause,
        reopened_at = case when n.opens then n.reopened_at || moment else i.reopened_at end,
        flapping_since = case n.action
          when 'flapping' then moment
          when 'reopened' then n.flapping_since
          else i.flapping_since
        end,
        opened_from = coalesce(o.from_at, i.opened_from),
        opened_until = coalesce(o.until_at, i.opened_until),
        opened_success = coalesce(o.successes, i.opened_success),
        opened_failure = coalesce(o.failures, i.opened_failure),
        acknowledged_at = case when not n.opens then i.acknowledged_at end,
        acknowledged_by = case when not n.opens then i.acknowledged_by end,
        notified_at = moment,
        notice = n.notice
    from noticed n
    left join opened_for o on o.incident_id = n.incident_id
    where i.id = n.incident_id and n.action <> 'opened'
  ),
  event as (
    insert into public.workflow_alert_events
      (project_id, rule_id, workflow_slug, incident_id, at, kind, from_state, to_state,
       success_count, failure_count)
    select
      (d.rule).project_id, (d.rule).id, d.slug, d.incident_id, moment, coalesce(d.action, 'state'),
      (d.old).state, d.next_state, d.successes, d.failures
    from done d
    where d.action is not null or (d.old).state is not null
  ),
  delivery as (
    insert into public.workflow_alert_deliveries
      (project_id, channel_id, incident_id, kind, notice, status, held_for, next_attempt_at, created_at)
    select
      (n.rule).project_id, c.id, n.incident_id, n.notice_kind, n.notice,
      case
        when (n.rule).silenced_until > moment then 'silenced'
        when n.in_digest then 'held'
        else 'pending'
      end,
      case when n.in_digest then 'digest' end,
      case when n.in_digest then moment + interval '24 hours' else moment end,
      moment
    from noticed n
    join public.workflow_alert_channels c
      on c.project_id = (n.rule).project_id
      and c.enabled
      and case
        -- An end is for those who heard of the beginning, whatever channels the rule names now.
        when n.notice_kind = 'resolved' then (n.rule).notify_resolved and exists (
          select from public.workflow_alert_deliveries b
          where b.incident_id = n.incident_id and b.channel_id = c.id
        )
        else (n.rule).channel_ids is null or c.id = any ((n.rule).channel_ids)
      end
  )
  select
    (select count(*)::integer from measured),
    (select ended || coalesce(jsonb_agg(n.notice), '[]') from (select * from noticed limit 1000) n)
  into evaluated, notices;

  if workflow_ids is null then
    perform meshmetrics.release_silenced_alerts(moment, project_ids);
  end if;
end;
$$;
