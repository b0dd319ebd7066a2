-- A recipient wants no more mail of a project: remembered, whatever channels the project makes, and the
-- channel is switched off where it still sends there. `subscribe`: takes it back; the channel stays as it is.
create or replace function meshmetrics.unsubscribe_mail(
  of_channel uuid,
  of_project uuid,
  recipient bytea,
  target bytea,
  subscribe boolean
)
returns void
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
as $$
begin
  if subscribe then
    delete from meshmetrics.mail_unsubscribes u
    where u.project_id = of_project and u.recipient = unsubscribe_mail.recipient;
    return;
  end if;
  insert into meshmetrics.mail_unsubscribes (project_id, recipient)
  values (of_project, unsubscribe_mail.recipient)
  on conflict do nothing;
  update public.workflow_alert_channels c
  set enabled = false, disabled_reason = 'unsubscribed'
  where c.id = of_channel and sha256(convert_to(c.sealed_target, 'UTF8')) = target;
end;
$$;
