/* spend_memory.c - the store without a disk: figures live in the budgets, intents end with the process.
 *
 * Everything is answered at once, so a reservation over several budgets is one step by itself.
 */
#include "host/spend_internal.h"

#include "host/mem.h"

static void memory_reserve(struct spend_store *store, struct permit *permit)
{
    (void)store;
    struct spend_denial denial = {.has_price = permit->priced, .price = permit->price};
    for (size_t i = 0; i < permit->booking_count; i++) {
        if (!budget_check(permit->bookings[i].budget, &permit->price, &denial)) {
            spend_store_reserved(permit, &denial);
            return;
        }
    }
    for (size_t i = 0; i < permit->booking_count; i++) {
        budget_enter(permit->bookings[i].budget, &permit->bookings[i]);
        budget_book(&permit->bookings[i], BUCKET_HELD, &permit->price, 1);
    }
    spend_store_reserved(permit, NULL);
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
    for (size_t i = 0; i < permit->booking_count; i++) {
        budget_book(&permit->bookings[i], from, was, -1);
        budget_book(&permit->bookings[i], to, now, 1);
    }
}

static void memory_free(struct spend_store *store)
{
    mem_free(store);
}

struct spend_store *spend_memory_store_new(void)
{
    static const struct spend_store_type type = {memory_reserve, memory_intent, memory_move, memory_free};
    struct spend_store *store = mem_alloc(sizeof *store);
    store->type = &type;
    return store;
}
