-- Queues the mail that asks a channel's address whether it wants notices: when the channel is made, and
-- when its target changes. At most one waits at a time.
create or replace function meshmetrics.alert_confirm()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, public, pg_temp
as $$
begin
  if new.unconfirmed and not exists (
    select from public.workflow_alert_deliveries d
    where d.channel_id = new.id and d.kind = 'confirm' and d.status in ('pending', 'held')
  ) then
    insert into public.workflow_alert_deliveries (project_id, channel_id, kind)
    values (new.project_id, new.id, 'confirm');
  end if;
  return null;
end;
$$;

create or replace trigger confirm_new_channel
after insert on public.workflow_alert_channels
for each row execute function meshmetrics.alert_confirm();

create or replace trigger confirm_new_target
after update of sealed_target on public.workflow_alert_channels
for each row execute function meshmetrics.alert_confirm();
