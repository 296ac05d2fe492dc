-- Leases at most `p_most` messages of these topics for `p_lease_s` seconds to who asks, the longest due first.
-- Two who ask at once get different ones: each passes over the rows that the other has locked.
-- `attempts` counts the claims, this one too. It is the fence: who ends a message says which claim was his.
create function fanfold.outbox_claim(p_topics text[], p_most integer, p_lease_s double precision)
returns table (tenant_id uuid, id uuid, topic text, payload jsonb, attempts integer)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $function$
begin
  return query
  with due as materialized (
       select t.tenant_id, t.id, t.due_at from fanfold.outbox t
        where t.topic = any (p_topics) and t.dead_at is null and t.due_at <= now()
          and (t.leased_until is null or t.leased_until <= clock_timestamp())
        order by t.due_at, t.id limit p_most
          for update skip locked),
  claimed as (
       update fanfold.outbox t
          set leased_until = clock_timestamp() + make_interval(secs => p_lease_s), attempts = t.attempts + 1
         from due d where t.tenant_id = d.tenant_id and t.id = d.id
       returning t.tenant_id, t.id, t.topic, t.payload, t.attempts, t.due_at)
  select c.tenant_id, c.id, c.topic, c.payload, c.attempts from claimed c order by c.due_at, c.id;
end
$function$
