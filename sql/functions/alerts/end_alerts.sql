-- Closes the incidents, and forgets the states, whose rule or workflow is gone or switched off.
create or replace function meshmetrics.end_alerts(as_of timestamptz)
returns void
language sql
volatile
set search_path = pg_catalog, pg_temp
as $$
  with ended as (
    delete from public.workflow_alert_states s
    where not exists (
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
    set closed_at = as_of, close_reason = 'ended'
    from ended e
    where i.id = e.incident_id
    returning i.id
  )
  insert into public.workflow_alert_events
    (project_id, rule_id, workflow_slug, incident_id, at, kind, from_state, to_state, success_count,
     failure_count)
  select
    e.project_id, e.rule_id, e.workflow_slug, e.incident_id, as_of, 'ended', e.state, 'ok',
    e.success_count, e.failure_count
  from ended e
  where e.incident_id in (select c.id from closed c);
$$;
