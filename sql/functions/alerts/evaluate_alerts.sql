-- One round: looks at all enabled rules as of a moment (null: now), or at those that these workflow
-- versions touch, and moves on the states that changed. A transition, its event, its incident and
-- its deliveries are one transaction, and only happen where the state is still the one that was
-- looked at: two evaluators at once make one transition.
--
-- Takes no lock that counting or the engine's tables know of.
--
-- evaluated: rules times workflows looked at. notices: what was to be told, for the broadcast.
create or replace function meshmetrics.evaluate_alerts(
  as_of timestamptz,
  workflow_ids uuid[],
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
begin
  if workflow_ids is null then
    perform meshmetrics.end_alerts(moment);
  end if;

  with measured as materialized (
    select
      m.*,
      public.workflow_alert_judge(m.rule, m.successes, m.failures, m.failures_in_row, m.open_value) as verdict,
      (m.rule).metric = 'no_runs' and moment - make_interval(secs => (m.rule).no_data_after_seconds)
        >= coalesce(nullif(m.last_finished_at, '-infinity'), (m.rule).created_at) as silent
    from meshmetrics.alert_measures(moment, workflow_ids) m
  ),
  -- Most rules find what they found the last time, and have nothing to tell.
  moving as materialized (
    select m.*
    from measured m
    where (m.old).incident_id is not null or m.silent or m.verdict in ('rate', 'count', 'consecutive', 'overdue', 'open')
      or ((m.old).state, (m.old).success_count, (m.old).failure_count)
        is distinct from (m.verdict, m.successes, m.failures)
  ),
  -- What else there is to know of those with an open incident.
  held as materialized (
    select m.*, i as incident, (row_number() over ())::integer as question
    from moving m
    join public.workflow_alert_incidents i on i.id = (m.old).incident_id
  ),
  -- By question: the runs since, and (by its negative) those that it was opened for.
  counted as materialized (
    select c.*
    from (
      select
        array_agg(q.question) as questions, array_agg(i) as ids, array_agg(q.from_at) as from_at,
        array_agg(q.until_at) as until_at
      from (
        select
          h.question, h.ids, (h.incident).opened_until + interval '1 microsecond' as from_at,
          'infinity'::timestamptz as until_at
        from held h
        union all
        select -h.question, h.ids, (h.incident).opened_from, (h.incident).opened_until from held h
      ) q
      cross join lateral unnest(q.ids) i
    ) q
    cross join lateral meshmetrics.alert_counts(q.questions, q.ids, q.from_at, q.until_at) c
  ),
  opened as materialized (
    select
      (m.rule).id as rule_id, m.slug, m.incident,
      coalesce(c.successes, 0) as since_successes, coalesce(c.failures, 0) as since_failures,
      meshmetrics.alert_in_row(
        m.ids, 'success', greatest(m.last_failure_at, (m.incident).opened_until), 'infinity',
        (m.rule).recovery_runs
      ) as successes_in_row,
      (m.incident).cause not in ('no_data', 'overdue', 'open')
        and (w.successes, w.failures)
          is distinct from ((m.incident).opened_success, (m.incident).opened_failure)
        and public.workflow_alert_judge(
          m.rule, w.successes, w.failures,
          meshmetrics.alert_in_row(
            m.ids, 'failure',
            greatest(
              (m.old).epoch,
              coalesce(
                (
                  select max(l.finished_at) from meshmetrics.counted_runs l
                  where l.workflow_id = any (m.ids) and l.outcome = 'success'
                    and l.finished_at <= (m.incident).opened_until
                ),
                '-infinity'
              )
            ),
            (m.incident).opened_until, greatest((m.rule).consecutive, 1)
          )
        ) not in ('rate', 'count', 'consecutive', 'overdue', 'open') as corrected
    from held m
    left join counted c on c.question = m.question
    left join counted o on o.question = -m.question
    cross join lateral (select coalesce(o.successes, 0), coalesce(o.failures, 0)) w (successes, failures)
  ),
  judged as materialized (
    select
      m.*, o.incident, last.id as last_id, last.reopened,
      case
        when o.incident is null then case
          when m.silent or m.verdict in ('rate', 'count', 'consecutive', 'overdue', 'open') then case
            when last.id is null then 'opened'
            when cardinality(last.reopened) >= 2 and last.flapping_since is null then 'flapping'
            else 'reopened'
          end
        end
        when o.corrected then 'corrected'
        when case
          when (m.rule).metric = 'no_runs' then not m.silent
          when (m.rule).metric in ('overdue_count', 'open_too_long')
            then m.verdict not in ('overdue', 'open')
          else public.workflow_alert_recovered(
            m.rule, m.successes, m.failures, o.since_successes, o.since_failures, o.successes_in_row
          )
        end then 'recovered'
        when (o.incident).flapping_since is null and (o.incident).acknowledged_at is null
          and (m.rule).repeat_every_seconds > 0
          and moment - make_interval(secs => (m.rule).repeat_every_seconds) >= (o.incident).notified_at
          then 'reminder'
      end as action,
      last.flapping_since
    from moving m
    left join opened o on o.rule_id = (m.rule).id and o.slug = m.slug
    left join lateral ( -- the incident that trouble now would open again
      select
        i.id,
        array(
          select t from unnest(i.reopened_at) t where t > moment - interval '24 hours' order by t
        ) as reopened,
        case
          when i.reopened_at[cardinality(i.reopened_at)] > moment - interval '24 hours'
            then i.flapping_since
        end as flapping_since
      from public.workflow_alert_incidents i
      where (m.old).incident_id is null and (m.silent or m.verdict in ('rate', 'count', 'consecutive', 'overdue', 'open'))
        and i.rule_id = (m.rule).id and i.workflow_slug = m.slug and i.close_reason = 'recovered'
        and i.closed_at > moment - make_interval(secs => (m.rule).reopen_within_seconds)
      order by i.closed_at desc
      limit 1
    ) last on true
  ),
  decided as materialized (
    select
      j.*,
      case
        when j.action in ('corrected', 'recovered') then 'ok'
        when j.action = 'flapping' or (j.action = 'reopened' and j.flapping_since is not null)
          then 'flapping'
        when j.silent then 'no_data'
        when j.action in ('opened', 'reopened') then 'firing'
        when j.incident is null then j.verdict
        when j.verdict not in ('rate', 'count', 'consecutive', 'overdue', 'open') then 'recovering'
        when (j.incident).flapping_since is not null then 'flapping'
        else 'firing'
      end as next,
      case
        when j.action = 'opened' then gen_random_uuid()
        when j.action in ('reopened', 'flapping') then j.last_id
        when j.action in ('corrected', 'recovered') then null
        else (j.incident).id
      end as next_incident,
      case
        when j.silent then 'no_data'
        when j.incident is null then j.verdict
        else (j.incident).cause
      end as cause
    from judged j
  ),
  moved as (
    update public.workflow_alert_states s
    set state = d.next,
        version = s.version + (d.action is not null or s.state <> d.next)::integer,
        since = case when s.state = d.next then s.since else moment end,
        epoch = case when d.action = 'recovered' then greatest(s.epoch, d.last_run_at) else s.epoch end,
        incident_id = d.next_incident,
        success_count = d.successes,
        failure_count = d.failures,
        window_from = d.window_from,
        evaluated_at = moment
    from decided d
    where s.rule_id = (d.rule).id and s.workflow_slug = d.slug
      and s.state = (d.old).state and s.version = (d.old).version
      and (
        d.action is not null
        or (s.state, s.success_count, s.failure_count) <> (d.next, d.successes, d.failures)
      )
    returning s.rule_id, s.workflow_slug
  ),
  created as (
    insert into public.workflow_alert_states
      (rule_id, workflow_slug, project_id, state, since, incident_id, success_count, failure_count,
       window_from, evaluated_at)
    select
      (d.rule).id, d.slug, (d.rule).project_id, d.next, moment, d.next_incident, d.successes,
      d.failures, d.window_from, moment
    from decided d
    where (d.old).rule_id is null
    on conflict (rule_id, workflow_slug) do nothing
    returning rule_id, workflow_slug
  ),
  done as materialized (
    select
      d.*,
      case d.action
        when 'opened' then case when d.silent then 'no_data' else 'opened' end
        when 'corrected' then case when (d.rule).notify_resolved then 'resolved' end
        when 'recovered' then case when (d.rule).notify_resolved then 'resolved' end
        else d.action
      end as kind,
      coalesce((d.incident).id, d.next_incident) as about
    from decided d
    join (select * from moved union all select * from created) a
      on a.rule_id = (d.rule).id and a.workflow_slug = d.slug
    where d.action is not null or d.next is distinct from (d.old).state
  ),
  told as materialized (
    select
      t.*,
      meshmetrics.alert_notice(
        t.rule, t.slug, t.ids, coalesce(t.kind, 'resolved'), t.about, -- screens see what channels do not
        coalesce(i.opened_at, moment), moment, t.cause,
        case when t.action in ('corrected', 'recovered') then t.action end,
        t.window_from, t.successes, t.failures, t.last_finished_at
      ) as notice,
      -- Reopenings, and what follows them, are told of in the digest.
      t.action = 'reopened'
        or (t.action in ('corrected', 'recovered') and cardinality((t.incident).reopened_at) > 0)
        as for_digest
    from done t
    left join public.workflow_alert_incidents i on i.id = t.about
    where t.action is not null
  ),
  seen as materialized ( -- what it opens for, to be compared with what is counted of it later
    select t.about, f.from_at, t.last_run_at as until_at, c.successes, c.failures
    from told t
    cross join lateral (
      select least(t.window_from, l.from_at) as from_at
      from meshmetrics.alert_last_runs(
        t.ids, coalesce((t.old).epoch, '-infinity'), greatest((t.rule).consecutive, 1)
      ) l
    ) f
    cross join lateral meshmetrics.alert_count(t.ids, f.from_at, t.last_run_at) c
    where t.action in ('opened', 'reopened', 'flapping')
  ),
  incident_opened as (
    insert into public.workflow_alert_incidents
      (id, project_id, rule_id, workflow_slug, rule_name, severity, cause, opened_at, opened_from,
       opened_until, opened_success, opened_failure, notified_at, notice)
    select
      t.about, (t.rule).project_id, (t.rule).id, t.slug, (t.rule).name, (t.rule).severity, t.cause,
      moment, s.from_at, s.until_at, s.successes, s.failures, moment, t.notice
    from told t
    join seen s on s.about = t.about
    where t.action = 'opened'
  ),
  incident_changed as (
    update public.workflow_alert_incidents i
    set closed_at = case when t.action in ('corrected', 'recovered') then moment end,
        close_reason = case when t.action in ('corrected', 'recovered') then t.action end,
        cause = t.cause,
        reopened_at = case
          when t.action in ('reopened', 'flapping') then t.reopened || moment
          else i.reopened_at
        end,
        flapping_since = case t.action
          when 'flapping' then moment
          when 'reopened' then t.flapping_since
          else i.flapping_since
        end,
        opened_from = coalesce(s.from_at, i.opened_from),
        opened_until = coalesce(s.until_at, i.opened_until),
        opened_success = coalesce(s.successes, i.opened_success),
        opened_failure = coalesce(s.failures, i.opened_failure),
        acknowledged_at = case when s.about is null then i.acknowledged_at end,
        acknowledged_by = case when s.about is null then i.acknowledged_by end,
        notified_at = moment,
        notice = t.notice
    from told t
    left join seen s on s.about = t.about
    where i.id = t.about and t.action <> 'opened'
  ),
  event as (
    insert into public.workflow_alert_events
      (project_id, rule_id, workflow_slug, incident_id, at, kind, from_state, to_state,
       success_count, failure_count)
    select
      (d.rule).project_id, (d.rule).id, d.slug, d.about, moment, coalesce(d.action, 'state'),
      (d.old).state, d.next, d.successes, d.failures
    from done d
    where d.action is not null or (d.old).state is not null
  ),
  delivery as (
    insert into public.workflow_alert_deliveries
      (project_id, channel_id, incident_id, kind, notice, status, held_for, next_attempt_at, created_at)
    select
      (t.rule).project_id, c.id, t.about, t.kind, t.notice,
      case
        when (t.rule).silenced_until > moment then 'silenced'
        when t.for_digest then 'held'
        else 'pending'
      end,
      case when t.for_digest then 'digest' end,
      case when t.for_digest then moment + interval '24 hours' else moment end,
      moment
    from told t
    join public.workflow_alert_channels c
      on c.project_id = (t.rule).project_id
      and c.enabled
      and ((t.rule).channel_ids is null or c.id = any ((t.rule).channel_ids))
    where t.kind is not null
  )
  select
    (select count(*)::integer from measured),
    (select coalesce(jsonb_agg(t.notice), '[]') from told t)
  into evaluated, notices;
end;
$$;
