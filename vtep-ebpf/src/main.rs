//! The kernel side of vtep.
#![no_std]
#![no_main]

mod action;
mod clock;
mod counter;
mod event;
mod flood;
mod frame;
mod maps;
mod programs;
mod runtime;
mod tables;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
