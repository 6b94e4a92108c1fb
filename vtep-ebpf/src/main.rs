//! The kernel side of vtep.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

mod action;
mod atomic;
#[cfg(feature = "capture")]
mod capture;
#[cfg(not(feature = "capture"))]
#[path = "no_capture.rs"]
mod capture;
mod clock;
mod counter;
mod event;
mod flood;
mod frame;
mod maps;
mod police;
mod programs;
mod runtime;
mod tables;
mod too_big;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}
