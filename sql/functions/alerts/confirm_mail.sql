-- The recipient of a channel's mails agrees to them. `target`: sha256 of the sealed target that the link was
-- sent to. Returns whether the channel has that target still.
create or replace function meshmetrics.confirm_mail(of_channel uuid, target bytea)
returns boolean
language sql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
  with confirmed as (
    update public.workflow_alert_channels c
    set confirmed_at = coalesce(c.confirmed_at, clock_timestamp())
    where c.id = of_channel and c.kind = 'email'
      and sha256(convert_to(c.sealed_target, 'UTF8')) = target
    returning c.id
  )
  select exists (select from confirmed);
$$;
