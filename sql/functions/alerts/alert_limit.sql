-- Holds a project to 500 rules and 50 channels, so that one tenant's do not slow down everybody's.
create or replace function meshmetrics.alert_limit()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, public, pg_temp
as $$
declare
  most constant integer := tg_argv[0];
  there integer;
begin
  execute format('select count(*) from %I.%I where project_id = $1', tg_table_schema, tg_table_name)
  into there using new.project_id;
  if there >= most then
    raise exception 'a project may have %', most using errcode = 'program_limit_exceeded';
  end if;
  return new;
end;
$$;

create or replace trigger limit_rules
before insert on public.workflow_alert_rules
for each row execute function meshmetrics.alert_limit('500');

create or replace trigger limit_channels
before insert on public.workflow_alert_channels
for each row execute function meshmetrics.alert_limit('50');
