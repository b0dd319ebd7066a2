-- Closes the incidents, and forgets the states, whose rule or workflow is gone or switched off, of these
-- projects (null: of all). Channels that heard of the incident hear of its end. Returns the notices.
create or replace function meshmetrics.end_alerts(as_of timestamptz, project_ids uuid[])
returns setof jsonb
language sql
volatile
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
  with ended as (
    delete from public.workflow_alert_states s
    where (project_ids is null or s.project_id = any (project_ids))
      and not exists (
        select from public.workflow_alert_rules r
        where r.id = s.rule_id and r.enabled
          and case
            when r.scope = 'project' then s.workflow_slug = ''
            else s.workflow_slug <> ''
              and (r.workflow_slug is null or r.workflow_slug = s.workflow_slug)
              and exists (
                select from public.workflow_definitions d
                where d.project_id = r.project_id and d.slug = s.workflow_slug
              )
          end
      )
    returning s.*
  ),
  closed as (
    update public.workflow_alert_incidents i
    set closed_at = as_of,
        close_reason = 'ended',
        notice = i.notice || jsonb_build_object(
          'kind', 'resolved', 'at', as_of, 'close_reason', 'ended',
          'seconds', extract(epoch from as_of - i.opened_at)
        )
    from ended e
    where i.id = e.incident_id
    returning i.*
  ),
  event as (
    insert into public.workflow_alert_events
      (project_id, rule_id, workflow_slug, incident_id, at, kind, from_state, to_state, success_count,
       failure_count)
    select
      e.project_id, e.rule_id, e.workflow_slug, e.incident_id, as_of, 'ended', e.state, 'ok',
      e.success_count, e.failure_count
    from ended e
    where e.incident_id in (select c.id from closed c)
  ),
  delivery as (
    insert into public.workflow_alert_deliveries
      (project_id, channel_id, incident_id, kind, notice, status, held_for, next_attempt_at, created_at)
    select
      i.project_id, c.id, i.id, 'resolved', i.notice,
      case
        when r.silenced_until > as_of then 'silenced'
        when i.reopened_at <> '{}' then 'held'
        else 'pending'
      end,
      case when i.reopened_at <> '{}' then 'digest' end,
      case when i.reopened_at <> '{}' then as_of + interval '24 hours' else as_of end,
      as_of
    from closed i
    join public.workflow_alert_channels c on c.project_id = i.project_id and c.enabled
    left join public.workflow_alert_rules r on r.id = i.rule_id
    where coalesce(r.notify_resolved, true)
      and exists (
        select from public.workflow_alert_deliveries d
        where d.incident_id = i.id and d.channel_id = c.id
      )
  )
  select i.notice
  from closed i
  where exists (select from public.projects p where p.id = i.project_id);
$$;
