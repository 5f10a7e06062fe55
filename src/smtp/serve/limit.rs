//! How much who submits may send: the server's limits, or the account's own.

use crate::address::Address;
use crate::context::Context;
use crate::context::rates::Who;
use crate::mail::Account;
use crate::mail::addressing::Device;
use crate::mail::option::AccountOptions;
use crate::smtp::session::{Found, NoRecipient, Trouble};

/// Who submits, and its limits; 0 is none.
pub struct Allowance {
    who: Who,
    messages_per_hour: u32,
    recipients_per_day: u32,
    new_recipients_per_day: u32,
}

impl Allowance {
    /// What the account has no option for is as the server has it.
    pub fn of_account(context: &Context, account: &Account) -> Allowance {
        let options = context.store.look(|it| it.account_options(account.id));
        let options = options.unwrap_or_else(|error| {
            log::warn!("smtp: an account's options can't be read: {error}");
            AccountOptions::default()
        });
        Allowance::new(context, Who::Account(account.id), &options)
    }

    /// `None` for one that has no limits.
    pub fn of_device(context: &Context, device: &Device) -> Option<Allowance> {
        let who = Who::Device(device.name.clone());
        let allowance = || Allowance::new(context, who, &AccountOptions::default());
        device.limits.then(allowance)
    }

    fn new(context: &Context, who: Who, options: &AccountOptions) -> Allowance {
        let settings = context.settings();
        let or = |option: Option<u32>, setting| option.unwrap_or(setting);
        Allowance {
            who,
            messages_per_hour: or(options.messages_per_hour, settings.max_messages_per_hour),
            recipients_per_day: or(options.recipients_per_day, settings.max_recipients_per_day),
            new_recipients_per_day: or(
                options.new_recipients_per_day,
                settings.max_new_recipients_per_day,
            ),
        }
    }

    /// Counts a message. `now` in seconds.
    pub fn message(&self, context: &Context, now: i64) -> Result<(), Trouble> {
        let (rates, store) = (&context.rates, &context.store);
        match rates.message(store, &self.who, now, self.messages_per_hour) {
            true => Ok(()),
            false => Err(Trouble::Wait(
                "This account has sent as many messages as it may in an hour; try later",
            )),
        }
    }

    /// Counts a recipient, who may be new if it is elsewhere: an account that somebody has
    /// taken over writes to many whom its owner never wrote to.
    pub fn recipient(
        &self,
        context: &Context,
        now: i64,
        address: &Address,
        found: Found,
    ) -> Result<Found, NoRecipient> {
        let (rates, store) = (&context.rates, &context.store);
        if !rates.recipient(store, &self.who, now, self.recipients_per_day) {
            return Err(NoRecipient::Trouble(Trouble::Wait(
                "This account has sent to as many recipients as it may in a day; try later",
            )));
        }
        let limit = self.new_recipients_per_day;
        let new = || rates.new_recipient(store, &self.who, address, now, limit);
        match !found.remote.contains(address) || new() {
            true => Ok(found),
            false => {
                let who = &self.who;
                log::warn!("submission: {who} may write to no more new addresses today");
                Err(NoRecipient::TooManyNew)
            }
        }
    }
}
