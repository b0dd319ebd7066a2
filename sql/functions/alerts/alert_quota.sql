-- Holds the members of a project to so many tests and replays an hour, whatever they call: REST, RPC or SQL.
-- PostgREST answers an error of this SQLSTATE with 429.
--
-- Definer, because tenants may not write the quotas. Only for projects of the caller: row-level security refuses
-- the others' rows after this trigger.
create or replace function meshmetrics.alert_quota()
returns trigger
language plpgsql
volatile
security definer
set search_path = pg_catalog, public, pg_temp
as $$
declare
  what constant text := tg_argv[0];
  most constant integer := tg_argv[1];
  there integer;
begin
  if new.project_id in (select public.user_project_ids()) then
    insert into meshmetrics.alert_quotas as q (project_id, kind)
    values (new.project_id, what)
    on conflict (project_id, kind) do update
    set since = case when q.since < now() - interval '1 hour' then now() else q.since end,
        used = case when q.since < now() - interval '1 hour' then 1 else q.used + 1 end
    returning q.used into there;
    if there > most then
      raise exception 'a project may ask for % %s an hour', most, what using errcode = 'PT429';
    end if;
  end if;
  return new;
end;
$$;

create or replace trigger quota_tests
before insert on public.workflow_alert_deliveries
for each row when (new.kind = 'test') execute function meshmetrics.alert_quota('test', '30');

create or replace trigger quota_replays
before update on public.workflow_alert_deliveries
for each row
when (new.replay_requested_at is not null and new.replay_requested_at is distinct from old.replay_requested_at)
execute function meshmetrics.alert_quota('replay', '100');
