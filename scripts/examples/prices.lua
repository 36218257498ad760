-- prices.lua - what a training would cost, for several numbers of epochs. Estimates are free; nothing is created.
--
--   perigee run --emulator scripts/examples/prices.lua
local amount = require "perigee.amount"
local deai = require "perigee.deai"

local here = arg[0]:match "^(.*/)" or "./"
local client = deai.client {}
local x_train = client:upload(here .. "data/x_train.csv")
local y_train = client:upload(here .. "data/y_train.csv")
local limit = amount.ccd "1"

for _, epoch in ipairs { 10, 100, 1000, 10000 } do
  local price = client:estimate {
    model = "CNN", jobName = "price list", epoch = epoch, category = 10, train_shard = 0.8,
    x_train = x_train, y_train = y_train,
  }
  print(("%6d epochs  %s  %s"):format(epoch, price, price <= limit and "fits" or "above " .. tostring(limit)))
end
