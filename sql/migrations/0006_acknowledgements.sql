-- The API writes an acknowledgement, and any daemon serves the API; the one that holds the lease tells
-- the screens. acknowledged_told is the acknowledgement that was told of last.
alter table public.workflow_alert_incidents add column acknowledged_told timestamptz;
update public.workflow_alert_incidents
set acknowledged_told = acknowledged_at
where acknowledged_at is not null;
-- Empty but for a second after each: to look is to read one page.
create index workflow_alert_incidents_untold
  on public.workflow_alert_incidents (project_id, acknowledged_at)
  where acknowledged_at is not null and acknowledged_at is distinct from acknowledged_told;
