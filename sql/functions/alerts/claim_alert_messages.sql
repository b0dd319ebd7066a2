-- Takes up to `most` messages that are due, for `lease`: after that another daemon may send
-- them, because the first one has crashed. What waits for a channel travels together; a channel that had a
-- message within group_wait waits that long; one that had per_hour messages within the hour holds
-- the rest back, and sends all of it as one digest when there is room.
--
-- Fair: projects take turns, and within a project its channels; none has more than per_project messages
-- under way. In order: what is about an incident waits for what came before about it on the same channel, and
-- no channel gets the end of an incident of which it was not sent the beginning.
--
-- under_way: the projects of the messages that are being sent, one entry for each. avoided: channels that get
-- nothing now, as their receiver has its share already.
create or replace function meshmetrics.claim_alert_messages(
  lease interval,
  group_wait interval,
  per_hour integer,
  most integer,
  per_project integer,
  under_way uuid[],
  avoided uuid[]
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
  turn record;
  claimed uuid[] := coalesce(under_way, '{}');
  waits_until timestamptz;
  found_messages integer := 0;
begin
  update public.workflow_alert_deliveries d
  set status = 'pending', held_for = null, attempts = 0, message_id = d.id, next_attempt_at = moment,
      replay_requested_at = null, finished_at = null
  where d.replay_requested_at is not null and d.status in ('dead', 'held', 'silenced');

  for turn in
    with recursive queues as ( -- from one project to the next along the index, however long their queues
      (
        select d.project_id from public.workflow_alert_deliveries d
        where d.status in ('pending', 'held', 'sending')
        order by d.project_id
        limit 1
      )
      union all
      select (
        select d.project_id from public.workflow_alert_deliveries d
        where d.status in ('pending', 'held', 'sending') and d.project_id > q.project_id
        order by d.project_id
        limit 1
      )
      from queues q
      where q.project_id is not null
    )
    select t.id, q.project_id
    from queues q
    cross join lateral (
      select
        n.id, n.next_attempt_at, row_number() over (order by n.nth, n.next_attempt_at, n.id) as place
      from (
        select
          d.id, d.next_attempt_at,
          row_number() over (partition by d.channel_id order by d.next_attempt_at, d.id) as nth
        from (
          select d.id, d.channel_id, d.next_attempt_at
          from public.workflow_alert_deliveries d
          where d.project_id = q.project_id and d.status in ('pending', 'held', 'sending')
            and d.next_attempt_at <= moment
            and d.channel_id <> all (coalesce(avoided, '{}'))
          order by d.next_attempt_at
          limit 100
        ) d
      ) n
    ) t
    where cardinality(array_positions(claimed, q.project_id)) < per_project
    order by
      t.place + cardinality(array_positions(claimed, q.project_id)), t.next_attempt_at, t.id
    limit 1000
  loop
    exit when found_messages >= most;
    continue when cardinality(array_positions(claimed, turn.project_id)) >= per_project;

    -- It may have gone along with one before it, or another daemon may be sending it.
    select * into lead from public.workflow_alert_deliveries d
    where d.id = turn.id and d.status in ('pending', 'held', 'sending') and d.next_attempt_at <= moment
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

    -- Of what it never heard of, a channel hears no end either.
    update public.workflow_alert_deliveries d
    set status = 'dead', finished_at = moment,
        error = 'not sent: this channel was not notified that the incident had opened'
    where d.channel_id = channel.id and d.first_attempt_at is null and d.kind = 'resolved'
      and d.status in ('pending', 'held') and d.message_id is null and d.incident_id is not null
      and coalesce((
        select e.kind
        from public.workflow_alert_deliveries e
        where e.incident_id = d.incident_id and e.channel_id = d.channel_id
          and (e.created_at, e.id) < (d.created_at, d.id)
          and e.status in ('sent', 'pending', 'held', 'sending')
        order by e.created_at desc, e.id desc
        limit 1
      ), 'resolved') = 'resolved';
    continue when not exists (
      select from public.workflow_alert_deliveries d where d.id = lead.id and d.status <> 'dead'
    );

    if lead.message_id is null then
      waits_until := meshmetrics.alert_waits_until(lead, moment);
      if waits_until is not null then
        update public.workflow_alert_deliveries d
        set next_attempt_at = waits_until
        where d.id = lead.id;
        continue;
      end if;
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
            and meshmetrics.alert_waits_until(d, moment) is null
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
    claimed := claimed || lead.project_id;

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
