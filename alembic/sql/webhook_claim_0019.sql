-- Leases due deliveries of enabled webhooks of active tenants to who asks, for `p_lease_s` seconds; at most `p_most`.
--
-- One that hangs holds up nobody else. Of one webhook at most `p_webhook_most` are leased at a time over all processes,
-- and a single one while it fails; of one tenant at most `p_tenant_most`; and of `p_most` at most `p_failing_most` go to
-- webhooks that fail, after those that do not. Within that, every tenant's first comes before anybody's second, and of a
-- tenant every webhook's; what is leased already counts, so that whoever is slow to answer does not have each place that
-- comes free, however long its backlog has been due.
--
-- `claims` counts the leases and is the fence: who ends a delivery says which lease was his. Who asks waits for who asks
-- at the same moment, so that the bounds hold; it passes over rows that somebody ends just now.
create function fanfold.webhook_claim(
  p_now timestamptz, p_lease_s double precision, p_most integer, p_failing_most integer, p_webhook_most integer,
  p_tenant_most integer)
returns table (
  tenant_id uuid, id uuid, webhook_id uuid, event_id uuid, body text, claims integer, url text, secret_sealed bytea,
  previous_sealed bytea, previous_until timestamptz, is_failing boolean)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
begin
  perform pg_advisory_xact_lock(hashtextextended('fanfold.webhook_claim', 0));
  return query
  -- From one webhook with something pending to the next by the index, however much is pending for each.
  with recursive waiting as (
    (select d.tenant_id, d.webhook_id from fanfold.webhook_deliveries d
      where d.status = 'pending' order by d.tenant_id, d.webhook_id limit 1)
    union all
    select n.tenant_id, n.webhook_id
      from waiting w
     cross join lateral (
           select d.tenant_id, d.webhook_id from fanfold.webhook_deliveries d
            where d.status = 'pending' and (d.tenant_id, d.webhook_id) > (w.tenant_id, w.webhook_id)
            order by d.tenant_id, d.webhook_id limit 1) n),
  ready as materialized (
    select h.tenant_id, h.id, h.failing_since is not null as is_failing,
           (select count(*) from fanfold.webhook_deliveries r
             where r.tenant_id = h.tenant_id and r.webhook_id = h.id and r.leased_until > p_now) as leased
      from waiting w
      join fanfold.webhooks h on h.tenant_id = w.tenant_id and h.id = w.webhook_id
      join fanfold.tenants t on t.id = h.tenant_id
     where h.enabled and t.status = 'active'),
  due as materialized (
    select d.tenant_id, d.id, d.due_at, y.is_failing,
           y.leased + row_number() over (partition by d.tenant_id, d.webhook_id order by d.due_at, d.id) as place
      from ready y
     cross join lateral (
           select d.tenant_id, d.webhook_id, d.id, d.due_at from fanfold.webhook_deliveries d
            where d.tenant_id = y.tenant_id and d.webhook_id = y.id and d.status = 'pending' and d.due_at <= p_now
              and (d.leased_until is null or d.leased_until <= p_now)
            order by d.due_at, d.id
            limit greatest(0, case when y.is_failing then 1 else p_webhook_most end - y.leased)) d),
  turns as (
    select d.tenant_id, d.id, d.due_at, d.is_failing,
           (select count(*) from fanfold.webhook_deliveries r
             where r.tenant_id = d.tenant_id and r.leased_until > p_now)
           + row_number() over (partition by d.tenant_id order by d.place, d.due_at, d.id) as turn
      from due d),
  lanes as (
    select t.tenant_id, t.id, t.due_at, t.is_failing, t.turn,
           row_number() over (partition by t.is_failing order by t.turn, t.due_at, t.id) as place
      from turns t where t.turn <= p_tenant_most),
  chosen as (
    select l.tenant_id, l.id from lanes l
     where not l.is_failing or l.place <= p_failing_most
     order by l.is_failing, l.turn, l.due_at, l.id limit p_most),
  held as materialized (
    select d.tenant_id, d.id from fanfold.webhook_deliveries d join chosen c on c.tenant_id = d.tenant_id and c.id = d.id
     where d.status = 'pending' and d.due_at <= p_now and (d.leased_until is null or d.leased_until <= p_now)
       for update of d skip locked),
  leased as (
    update fanfold.webhook_deliveries d
       set leased_until = p_now + make_interval(secs => p_lease_s), claims = d.claims + 1
      from held e where d.tenant_id = e.tenant_id and d.id = e.id
    returning d.tenant_id, d.id, d.webhook_id, d.event_id, d.body, d.claims)
  select l.tenant_id, l.id, l.webhook_id, l.event_id, l.body, l.claims, h.url, h.secret_sealed, h.previous_sealed,
         h.previous_until, h.failing_since is not null
    from leased l join fanfold.webhooks h on h.tenant_id = l.tenant_id and h.id = l.webhook_id;
end
$function$
