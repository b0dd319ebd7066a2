-- Holds a user to 100 projects with alert rules or channels. Runs as the caller: it counts what the caller sees.
create or replace function meshmetrics.alert_project_limit()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, public, pg_temp
as $$
declare
  most constant integer := tg_argv[0];
begin
  if (
    select count(*)
    from public.user_project_ids() p
    where p <> new.project_id
      and (
        exists (select from public.workflow_alert_rules r where r.project_id = p)
        or exists (select from public.workflow_alert_channels c where c.project_id = p)
      )
  ) >= most then
    raise exception 'a user may have alert rules and channels in % projects', most
      using errcode = 'program_limit_exceeded';
  end if;
  return new;
end;
$$;

create or replace trigger limit_projects
before insert on public.workflow_alert_rules
for each row execute function meshmetrics.alert_project_limit('100');

create or replace trigger limit_projects
before insert on public.workflow_alert_channels
for each row execute function meshmetrics.alert_project_limit('100');
