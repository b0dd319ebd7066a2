-- Whether a mail may go to a recipient now; if so it counts as sent. `recipients`: the hash of the address
-- under each key, newest first. The limits are mails in an hour: to the recipient over all projects, of the
-- project, and overall. One that asks for confirmation goes to a recipient who never agreed, so there are
-- fewer of them: in a day three to a recipient from a project and five from all, in an hour ten of a project.
--
-- Callers follow each other, so that two at once do not both take the last place.
create or replace function meshmetrics.admit_mail(
  of_project uuid,
  recipients bytea[],
  is_confirmation boolean,
  per_recipient integer,
  per_project integer,
  overall integer,
  out verdict text, -- send, unsubscribed, confirmations, recipient, project or overall
  out wait interval -- until there may be room, where a limit of an hour is reached
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
declare
  moment timestamptz;
  hour_ago timestamptz;
  counted record;
begin
  if exists (
    select from meshmetrics.mail_unsubscribes u
    where u.project_id = of_project and u.recipient = any (recipients)
  ) then
    verdict := 'unsubscribed';
    return;
  end if;

  lock table meshmetrics.mails in share row exclusive mode;
  moment := clock_timestamp();
  hour_ago := moment - interval '1 hour';
  if is_confirmation then
    select
      count(*) filter (where m.recipient = any (recipients)) as of_all,
      count(*) filter (where m.recipient = any (recipients) and m.project_id = of_project) as of_one,
      count(*) filter (where m.project_id = of_project and m.at > hour_ago) as of_hour
    into counted
    from meshmetrics.mails m
    where m.confirmation and m.at > moment - interval '24 hours'
      and (m.recipient = any (recipients) or m.project_id = of_project);
    if counted.of_all >= 5 or counted.of_one >= 3 or counted.of_hour >= 10 then
      verdict := 'confirmations';
      return;
    end if;
  end if;

  select l.name, l.oldest + interval '1 hour' - moment into verdict, wait
  from (
    select 1 as place, 'recipient' as name, per_recipient as most, count(*) as mails, min(m.at) as oldest
    from meshmetrics.mails m where m.recipient = any (recipients) and m.at > hour_ago
    union all
    select 2, 'project', per_project, count(*), min(m.at)
    from meshmetrics.mails m where m.project_id = of_project and m.at > hour_ago
    union all
    select 3, 'overall', overall, count(*), min(m.at)
    from meshmetrics.mails m where m.at > hour_ago
  ) l
  where l.mails >= l.most
  order by l.place
  limit 1;
  if verdict is null then
    insert into meshmetrics.mails (project_id, recipient, confirmation)
    values (of_project, recipients[1], is_confirmation);
    verdict := 'send';
  end if;
end;
$$;
