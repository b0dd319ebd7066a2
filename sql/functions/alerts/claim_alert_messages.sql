-- Takes up to `most` messages that are due, for `lease`: whoever took one and died is followed by
-- another once it has run out. What waits for a channel travels together; a channel that had a
-- message within group_wait waits that long; one that had per_hour messages within the hour holds
-- the rest back, and sends all of it as one digest when there is room.
create or replace function meshmetrics.claim_alert_messages(
  lease interval,
  group_wait interval,
  per_hour integer,
  most integer
)
returns table (
  message_id uuid,
  attempt integer,
  digest boolean,
  first_attempt_at timestamptz,
  project_id uuid,
  channel_id uuid,
  channel_kind text,
  sealed_target text,
  sealed_secret text,
  sealed_old_secret text,
  deliveries jsonb
)
language plpgsql
volatile
security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  moment constant timestamptz := clock_timestamp();
  together constant integer := 50;
  lead public.workflow_alert_deliveries;
  channel public.workflow_alert_channels;
  lately record;
  taken uuid[];
  found_messages integer := 0;
begin
  update public.workflow_alert_deliveries d
  set status = 'pending', held_for = null, attempts = 0, message_id = d.id, next_attempt_at = moment,
      replay_requested_at = null, finished_at = null
  where d.replay_requested_at is not null and d.status in ('dead', 'held', 'silenced');

  for lead in
    select d.*
    from public.workflow_alert_deliveries d
    where d.status in ('pending', 'held', 'sending') and d.next_attempt_at <= moment
    order by d.next_attempt_at, d.id
    limit 1000
  loop
    exit when found_messages >= most;

    -- It may have gone along with one before it, or somebody else may be at it.
    select * into lead from public.workflow_alert_deliveries d
    where d.id = lead.id and d.status in ('pending', 'held', 'sending') and d.next_attempt_at <= moment
    for update skip locked;
    continue when not found;

    select * into channel from public.workflow_alert_channels c
    where c.id = lead.channel_id and c.project_id = lead.project_id;
    if not found or not (channel.enabled or lead.kind in ('test', 'confirm'))
      or channel.unconfirmed <> (lead.kind = 'confirm')
    then
      update public.workflow_alert_deliveries d
      set status = 'dead', finished_at = moment,
          error = case
            when channel.id is null then 'the channel is gone'
            when channel.unconfirmed then 'the address has not been confirmed'
            when lead.kind = 'confirm' then 'there is nothing to confirm'
            else 'the channel is switched off'
          end
      where d.id = lead.id;
      continue;
    end if;

    if lead.message_id is null then
      select count(distinct d.message_id) as messages, min(d.first_attempt_at) as oldest,
        max(d.first_attempt_at) as newest
      into lately
      from public.workflow_alert_deliveries d
      where d.channel_id = channel.id and d.first_attempt_at > moment - interval '1 hour';
      if lately.messages >= per_hour then
        update public.workflow_alert_deliveries d
        set status = 'held', held_for = coalesce(d.held_for, 'cap'),
            next_attempt_at = lately.oldest + interval '1 hour'
        where d.id = lead.id;
        continue;
      end if;
      if lead.status = 'pending' and lead.kind not in ('test', 'confirm') and lately.newest > moment - group_wait then
        update public.workflow_alert_deliveries d
        set next_attempt_at = lately.newest + group_wait
        where d.id = lead.id;
        continue;
      end if;
    end if;

    select array_agg(l.id) into taken
    from (
      select d.id
      from public.workflow_alert_deliveries d
      where d.channel_id = channel.id
        and case
          when lead.message_id is not null
            then d.message_id = lead.message_id and d.status in ('pending', 'sending')
              and d.next_attempt_at <= moment
          when lead.kind in ('test', 'confirm') then d.id = lead.id
          else d.message_id is null and d.status = lead.status and d.kind not in ('test', 'confirm')
        end
      order by d.created_at, d.id
      limit together
      for update skip locked
    ) l;
    if not lead.id = any (taken) then
      taken := taken || lead.id;
    end if;

    update public.workflow_alert_deliveries d
    set status = 'sending',
        message_id = coalesce(lead.message_id, lead.id),
        attempts = d.attempts + 1,
        first_attempt_at = coalesce(d.first_attempt_at, moment),
        leased_until = moment + lease,
        next_attempt_at = moment + lease -- when another may take it, should we die
    where d.id = any (taken);
    found_messages := found_messages + 1;

    message_id := coalesce(lead.message_id, lead.id);
    attempt := lead.attempts + 1;
    first_attempt_at := coalesce(lead.first_attempt_at, moment);
    digest := lead.held_for is not null;
    project_id := channel.project_id;
    channel_id := channel.id;
    channel_kind := channel.kind;
    sealed_target := channel.sealed_target;
    sealed_secret := channel.sealed_secret;
    sealed_old_secret := case when channel.old_secret_until > moment then channel.sealed_old_secret end;
    select jsonb_agg(
      jsonb_build_object('id', d.id, 'kind', d.kind, 'notice', d.notice, 'created_at', d.created_at)
      order by d.created_at, d.id
    )
    into deliveries
    from public.workflow_alert_deliveries d
    where d.id = any (taken);
    return next;
  end loop;
end;
$$;
