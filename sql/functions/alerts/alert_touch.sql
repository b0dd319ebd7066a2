-- Keeps updated_at, and on a channel whose secret changes the old one, for a day beside the new: the
-- caller can write a secret, and cannot read the one that was there. A new target is unconfirmed.
create or replace function meshmetrics.alert_touch()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, public, pg_temp
as $$
begin
  new.updated_at := now();
  if tg_table_name = 'workflow_alert_channels' then
    if new.sealed_secret is distinct from old.sealed_secret then
      new.sealed_old_secret := old.sealed_secret;
      new.old_secret_until := now() + interval '24 hours';
    end if;
    if new.sealed_target is distinct from old.sealed_target then
      new.confirmed_at := null;
      new.refusals := 0;
    end if;
  end if;
  return new;
end;
$$;

create or replace trigger touch_rule
before update on public.workflow_alert_rules
for each row execute function meshmetrics.alert_touch();

create or replace trigger touch_channel
before update on public.workflow_alert_channels
for each row execute function meshmetrics.alert_touch();
