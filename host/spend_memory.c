/* spend_memory.c - the store without a disk: figures live in the budgets, intents end with the process.
 *
 * Everything is answered at once, so a reservation over several budgets is one step by itself.  The journal's
 * store uses the same for budgets that are a script's own.
 */
#include "host/spend_internal.h"

#include "host/mem.h"

bool spend_reserve_own(struct permit *permit, struct spend_denial *denial)
{
    for (size_t i = 0; i < permit->booking_count; i++) {
        struct budget *budget = permit->bookings[i].budget;
        if (!(budget->durable ? budget_check_currency(budget, &permit->price, denial)
                              : budget_check(budget, &permit->price, denial)))
            return false;
    }
    for (size_t i = 0; i < permit->booking_count; i++) {
        budget_enter(permit->bookings[i].budget, &permit->bookings[i]);
        if (permit->bookings[i].budget->durable) continue;
        budget_book(&permit->bookings[i], BUCKET_HELD, &permit->price, 1);
    }
    return true;
}

void spend_move_own(struct permit *permit, enum spend_bucket from, const struct amount *was,
                    enum spend_bucket to, const struct amount *now)
{
    for (size_t i = 0; i < permit->booking_count; i++) {
        if (permit->bookings[i].budget->durable) continue;
        budget_book(&permit->bookings[i], from, was, -1);
        budget_book(&permit->bookings[i], to, now, 1);
    }
}

static void memory_reserve(struct spend_store *store, struct permit *permit)
{
    (void)store;
    struct spend_denial denial = {.has_price = permit->priced, .price = permit->price};
    bool fits = spend_reserve_own(permit, &denial);
    spend_store_reserved(permit, fits ? NULL : &denial);
}

static void memory_intent(struct spend_store *store, struct permit *permit)
{
    (void)store;
    spend_store_recorded(permit, NULL);
}

static void memory_move(struct spend_store *store, struct permit *permit, enum spend_bucket from,
                        const struct amount *was, enum spend_bucket to, const struct amount *now)
{
    (void)store;
    spend_move_own(permit, from, was, to, now);
}

static void memory_free(struct spend_store *store)
{
    mem_free(store);
}

struct spend_store *spend_memory_store_new(void)
{
    static const struct spend_store_type type = {
        .reserve = memory_reserve, .intent = memory_intent, .move = memory_move, .free = memory_free};
    struct spend_store *store = mem_alloc(sizeof *store);
    store->type = &type;
    return store;
}
