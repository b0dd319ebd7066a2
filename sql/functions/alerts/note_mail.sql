-- Notes how the mail server took a channel's address: whether it refused it for good. Returns how often in a row it
-- has.
create or replace function meshmetrics.note_mail(of_channel uuid, refused boolean)
returns integer
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  with noted as (
    update public.workflow_alert_channels c
    set refusals = case when refused then c.refusals + 1 else 0 end
    where c.id = of_channel and (refused or c.refusals > 0)
    returning c.refusals
  )
  select coalesce((select n.refusals from noted n), 0);
$$;
