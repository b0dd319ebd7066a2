-- Holds a project to as many pairs of a rule and a workflow as one round can evaluate: alert_most_pairs(), which
-- a tenant may not call.
create or replace function meshmetrics.alert_limit_pairs()
returns trigger
language plpgsql
volatile
set search_path = pg_catalog, public, pg_temp
as $$
declare
  most constant integer := tg_argv[0];
  on_each integer;
  workflows integer;
begin
  if not new.enabled or new.scope <> 'workflow' or new.workflow_slug is not null then
    return new;
  end if;
  select count(*) + 1 into on_each
  from public.workflow_alert_rules r
  where r.project_id = new.project_id and r.id <> new.id
    and r.enabled and r.scope = 'workflow' and r.workflow_slug is null;
  select count(*) into workflows
  from (
    select distinct d.slug from public.workflow_definitions d
    where d.project_id = new.project_id
    limit most
  ) s;
  if on_each::bigint * workflows > most then
    raise exception
      'a project may have % pairs of a rule and a workflow; % rules on each of % workflows are more: name the workflow that a rule is for',
      most, on_each, workflows
    using errcode = 'program_limit_exceeded';
  end if;
  return new;
end;
$$;

create or replace trigger limit_pairs
before insert or update of enabled, scope, workflow_slug, project_id on public.workflow_alert_rules
for each row execute function meshmetrics.alert_limit_pairs('50000');
