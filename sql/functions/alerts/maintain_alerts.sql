-- Deletes what is old: transitions after 90 days, deliveries that are over after 30 (and their incident too:
-- what a channel was sent decides whether it hears of the end), incidents that are closed after 400; and all
-- of projects that are gone. Of mails it keeps the last day, over which their limits are counted.
create or replace function meshmetrics.maintain_alerts(as_of timestamptz)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  moment constant timestamptz := coalesce(as_of, now());
begin
  delete from public.workflow_alert_events e
  where e.at < moment - interval '90 days'
    or not exists (select from public.projects p where p.id = e.project_id);
  delete from public.workflow_alert_deliveries d
  where (
      (d.finished_at < moment - interval '30 days'
        or (d.status = 'silenced' and d.created_at < moment - interval '30 days'))
      and not exists (
        select from public.workflow_alert_incidents i
        where i.id = d.incident_id and (i.closed_at is null or i.closed_at > moment - interval '1 day')
      )
    )
    or not exists (select from public.projects p where p.id = d.project_id);
  delete from public.workflow_alert_failures f
  where not exists (select from public.projects p where p.id = f.project_id)
    or not exists (select from public.workflow_alert_rules r where r.project_id = f.project_id);
  delete from public.workflow_alert_incidents i
  where i.closed_at < moment - interval '400 days'
    or not exists (select from public.projects p where p.id = i.project_id);
  delete from meshmetrics.mails m where m.at < moment - interval '25 hours';
  delete from meshmetrics.mail_unsubscribes u
  where not exists (select from public.projects p where p.id = u.project_id);
end;
$$;
