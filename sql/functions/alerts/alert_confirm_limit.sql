-- Holds a channel to three mails a day that ask for confirmation. How many its address gets, over all
-- channels and projects, is for admit_mail to say.
create or replace function meshmetrics.alert_confirm_limit()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, public, pg_temp
as $$
begin
  if (
    select count(*) from public.workflow_alert_deliveries d
    where d.channel_id = new.channel_id and d.kind = 'confirm'
      and d.created_at > now() - interval '24 hours'
  ) >= 3 then
    raise exception 'a channel asks its address for confirmation at most 3 times a day'
      using errcode = 'program_limit_exceeded';
  end if;
  return new;
end;
$$;

create or replace trigger limit_confirmations
before insert on public.workflow_alert_deliveries
for each row when (new.kind = 'confirm')
execute function meshmetrics.alert_confirm_limit();
